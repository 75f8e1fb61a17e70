package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	tasks  = 1_000_000
	rounds = 300_000
)

// spawnJoin: Go has no handles to join; a WaitGroup is what its users take for this.
func spawnJoin() outcome {
	start := time.Now()
	var group sync.WaitGroup
	group.Add(tasks)
	for i := 0; i < tasks; i++ {
		go group.Done()
	}
	group.Wait() // returns only after as many Done, and more would panic: the check
	return since(start, tasks, true)
}

func spawnJoin1() outcome {
	start := time.Now()
	joined := 0
	for i := 0; i < rounds; i++ {
		done := make(chan struct{})
		go close(done)
		<-done
		joined++
	}
	return since(start, rounds, joined == rounds)
}

func spawnDetached() outcome {
	var ran int64
	last := make(chan struct{})
	start := time.Now()
	for i := 0; i < tasks; i++ {
		go func() {
			if atomic.AddInt64(&ran, 1) == tasks {
				close(last)
			}
		}()
	}
	<-last
	return since(start, tasks, atomic.LoadInt64(&ran) == tasks)
}

func link(depth int, ran *int64, last chan struct{}) {
	*ran++
	if depth > 1 {
		go link(depth-1, ran, last)
	} else {
		close(last)
	}
}

func chain() outcome {
	var ran int64
	last := make(chan struct{})
	start := time.Now()
	go link(tasks, &ran, last)
	<-last
	return since(start, tasks, ran == tasks)
}

func yield() outcome {
	const yielders, yields = 1000, 1000
	var group sync.WaitGroup
	var total int64
	start := time.Now()
	group.Add(yielders)
	for i := 0; i < yielders; i++ {
		go func() {
			defer group.Done()
			for j := 0; j < yields; j++ {
				runtime.Gosched()
			}
			atomic.AddInt64(&total, yields)
		}()
	}
	group.Wait()
	return since(start, yielders*yields, total == yielders*yields)
}

func oneshot() outcome {
	start := time.Now()
	sum := 0
	for i := 0; i < rounds; i++ {
		answer := make(chan int, 1)
		go func(i int) { answer <- i }(i)
		sum += <-answer
	}
	return since(start, rounds, sum == rounds*(rounds-1)/2)
}

func spawnWake() outcome {
	delays := make([]time.Duration, pick(200, 40))
	ok := true
	for i := range delays {
		time.Sleep(2 * time.Millisecond)
		started := make(chan time.Time, 1)
		spawned := time.Now()
		go func() { started <- time.Now() }()
		for time.Since(spawned) < 5*time.Millisecond {
		}
		delays[i] = (<-started).Sub(spawned)
		ok = ok && delays[i] >= 0
	}
	return percentiles(delays, ok)
}
