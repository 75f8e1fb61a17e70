package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	watchers     = 8
	watchValues  = 300_000
	newsMessages = 1_000_000
	newsBurst    = 64
)

// watched is the usual way: a value under a read/write lock, and a channel that is closed when it
// changes.
type watched struct {
	mutex   sync.RWMutex
	value   int64
	closed  bool
	changed chan struct{}
}

func (w *watched) send(value int64, closed bool) {
	w.mutex.Lock()
	w.value, w.closed = value, closed
	close(w.changed)
	w.changed = make(chan struct{})
	w.mutex.Unlock()
}

func (w *watched) look() (int64, bool, chan struct{}) {
	w.mutex.RLock()
	defer w.mutex.RUnlock()
	return w.value, w.closed, w.changed
}

func watch() outcome {
	w := &watched{changed: make(chan struct{})}
	var group sync.WaitGroup
	var looks, right int64
	group.Add(watchers)
	for i := 0; i < watchers; i++ {
		go func() {
			defer group.Done()
			var last, n int64
			value, closed, changed := w.look()
			for !closed {
				<-changed
				value, closed, changed = w.look()
				if value > last {
					last = value
					n++
				}
			}
			atomic.AddInt64(&looks, n)
			if last == watchValues {
				atomic.AddInt64(&right, 1)
			}
		}()
	}
	runtime.Gosched()
	start := time.Now()
	for value := int64(1); value <= watchValues; value++ {
		w.send(value, false)
		runtime.Gosched()
	}
	w.send(watchValues, true)
	group.Wait()
	return since(start, int(looks), right == watchers)
}

// broadcast: Go has none; a channel for each receiver, which loses nothing.
func broadcast() outcome {
	var feeds [watchers]chan int64
	var group sync.WaitGroup
	var looks int64
	group.Add(watchers)
	for i := range feeds {
		feeds[i] = make(chan int64, capacity)
		go func(feed chan int64) {
			defer group.Done()
			var last, n int64
			for value := range feed {
				if value == last+1 {
					n++
				}
				last = value
			}
			atomic.AddInt64(&looks, n)
		}(feeds[i])
	}
	runtime.Gosched()
	start := time.Now()
	for value := int64(1); value <= newsMessages; value++ {
		for _, feed := range feeds {
			feed <- value
		}
		if value%newsBurst == 0 {
			runtime.Gosched()
		}
	}
	for _, feed := range feeds {
		close(feed)
	}
	group.Wait()
	return since(start, int(looks), looks == watchers*newsMessages)
}

const reads = 20_000_000

func perRead(read func() int64) (float64, bool) {
	var sum int64
	start := time.Now()
	for i := 0; i < reads; i++ {
		sum += read()
	}
	return float64(time.Since(start).Nanoseconds()) / reads, sum == reads
}

// rcuRead: the collector keeps what is read; so an atomic pointer is enough.
func rcuRead() outcome {
	var pointer atomic.Pointer[int64]
	var mutex sync.RWMutex
	value := int64(1)
	pointer.Store(&value)
	section, first := perRead(func() int64 { return *pointer.Load() })
	rwlock, second := perRead(func() int64 {
		mutex.RLock()
		defer mutex.RUnlock()
		return value
	})
	return outcome{ok: first && second, figures: []figure{
		{"section", "ns/read", section}, {"rwlock", "ns/read", rwlock}}}
}
