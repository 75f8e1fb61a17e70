package main

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	messages = 5_000_000
	capacity = 128
)

func isWhole(count, sum int64) bool {
	return count == messages && sum == messages*(messages-1)/2
}

func pingpong(pairs, roundTrips int) outcome {
	var group sync.WaitGroup
	var right int64
	start := time.Now()
	group.Add(pairs)
	for p := 0; p < pairs; p++ {
		ping, pong := make(chan int, 1), make(chan int, 1)
		go func() {
			for i := range ping {
				pong <- i + 1
			}
		}()
		go func() {
			defer group.Done()
			defer close(ping)
			good := 0
			for i := 0; i < roundTrips; i++ {
				ping <- i
				if <-pong == i+1 {
					good++
				}
			}
			atomic.AddInt64(&right, int64(good))
		}()
	}
	group.Wait()
	return since(start, pairs*roundTrips, right == int64(pairs*roundTrips))
}

func bounded(producers, consumers int) outcome {
	start := time.Now()
	ch := make(chan int64, capacity)
	var sending, receiving sync.WaitGroup
	sending.Add(producers)
	for p := 0; p < producers; p++ {
		go func(p int) {
			defer sending.Done()
			for value := p; value < messages; value += producers {
				ch <- int64(value)
			}
		}(p)
	}
	go func() { sending.Wait(); close(ch) }()
	var count, sum int64
	receiving.Add(consumers)
	for c := 0; c < consumers; c++ {
		go func() {
			defer receiving.Done()
			var n, s int64
			for value := range ch {
				n++
				s += value
			}
			atomic.AddInt64(&count, n)
			atomic.AddInt64(&sum, s)
		}()
	}
	receiving.Wait()
	return since(start, messages, isWhole(count, sum))
}

// queue: Go has no unbounded channel; a slice under a mutex and a condition is the usual stand-in.
// The receiver takes all that is there at once.
type queue struct {
	mutex    sync.Mutex
	nonEmpty *sync.Cond
	values   []int64
}

func newQueue() *queue {
	q := &queue{}
	q.nonEmpty = sync.NewCond(&q.mutex)
	return q
}

func (q *queue) push(value int64) {
	q.mutex.Lock()
	q.values = append(q.values, value)
	if len(q.values) == 1 {
		q.nonEmpty.Signal()
	}
	q.mutex.Unlock()
}

// takeAll waits for at least one value; spare is the slice to fill next.
func (q *queue) takeAll(spare []int64) []int64 {
	q.mutex.Lock()
	for len(q.values) == 0 {
		q.nonEmpty.Wait()
	}
	taken := q.values
	q.values = spare[:0]
	q.mutex.Unlock()
	return taken
}

func unbounded(producers int) outcome {
	start := time.Now()
	q := newQueue()
	for p := 0; p < producers; p++ {
		go func(p int) {
			for value := p; value < messages; value += producers {
				q.push(int64(value))
			}
		}(p)
	}
	var count, sum int64
	var batch []int64
	for count < messages {
		batch = q.takeAll(batch)
		for _, value := range batch {
			count++
			sum += value
		}
	}
	return since(start, messages, isWhole(count, sum))
}

// work is about 50 ns: the same rounds of the same generator in every program.
func work(x uint64) uint64 {
	for i := 0; i < 30; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

var mutexState uint64 = 1

func mutex4() outcome {
	const lockers, locksEach = 4, 1_000_000
	var mutex sync.Mutex
	var group sync.WaitGroup
	locks := 0
	start := time.Now()
	group.Add(lockers)
	for t := 0; t < lockers; t++ {
		go func() {
			defer group.Done()
			for i := 0; i < locksEach; i++ {
				mutex.Lock()
				locks++
				mutexState = work(mutexState)
				mutex.Unlock()
			}
		}()
	}
	group.Wait()
	return since(start, lockers*locksEach, locks == lockers*locksEach)
}

// One write in 64; the readers do the same work, each on a copy.
func rwlock4() outcome {
	const lockers, locksEach = 4, 1_000_000
	var mutex sync.RWMutex
	var group sync.WaitGroup
	var sums [lockers]uint64
	locks := 0
	start := time.Now()
	group.Add(lockers)
	for t := 0; t < lockers; t++ {
		go func(t int) {
			defer group.Done()
			var sum uint64
			for i := 0; i < locksEach; i++ {
				if i%64 == 0 {
					mutex.Lock()
					locks++
					mutexState = work(mutexState)
					mutex.Unlock()
				} else {
					mutex.RLock()
					sum |= work(mutexState)
					mutex.RUnlock()
				}
			}
			sums[t] = sum
		}(t)
	}
	group.Wait()
	ok := locks == lockers*locksEach/64
	for _, sum := range sums {
		ok = ok && sum != 0
	}
	return since(start, lockers*locksEach, ok)
}

func select4() outcome {
	const each = 1_000_000
	start := time.Now()
	var feeds [4]chan int64
	for f := range feeds {
		feeds[f] = make(chan int64, capacity)
		go func(feed chan int64) {
			for i := int64(0); i < each; i++ {
				feed <- i
			}
		}(feeds[f])
	}
	var sum, value int64
	for n := 0; n < 4*each; n++ {
		select {
		case value = <-feeds[0]:
		case value = <-feeds[1]:
		case value = <-feeds[2]:
		case value = <-feeds[3]:
		}
		sum += value
	}
	return since(start, 4*each, sum == 4*each*(each-1)/2)
}
