package main

import (
	"sync"
	"time"
)

// semaphore: the standard library has none; a buffered channel is what is used as one.
func semaphore(holders, permits int) outcome {
	const acquires = 1_000_000
	var group sync.WaitGroup
	slots := make(chan struct{}, permits)
	start := time.Now()
	group.Add(holders)
	for h := 0; h < holders; h++ {
		go func() {
			defer group.Done()
			for i := 0; i < acquires; i++ {
				slots <- struct{}{}
				<-slots
			}
		}()
	}
	group.Wait()
	return since(start, holders*acquires, len(slots) == 0)
}

// notify: a channel with room for one, into which a second notification does not go.
func notify() outcome {
	const rounds = 300_000
	there, back := make(chan struct{}, 1), make(chan struct{}, 1)
	one := func(ch chan struct{}) {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
	start := time.Now()
	go func() {
		for i := 0; i < rounds; i++ {
			<-there
			one(back)
		}
	}()
	for i := 0; i < rounds; i++ {
		one(there)
		<-back
	}
	return since(start, rounds, true)
}
