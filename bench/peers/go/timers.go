package main

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// cpuTime is the CPU time of this process so far, to the microsecond.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func nextRandom(x *uint64) uint64 {
	*x ^= *x << 13
	*x ^= *x >> 7
	*x ^= *x << 17
	return *x
}

func timers() outcome {
	sleepers := pick(1_000_000, 200_000)
	var group sync.WaitGroup
	var slept int64
	cpuStart := cpuTime()
	x := uint64(0x9E3779B97F4A7C15)
	group.Add(sleepers)
	for i := 0; i < sleepers; i++ {
		go func(wait time.Duration) {
			defer group.Done()
			start := time.Now()
			time.Sleep(wait)
			if time.Since(start) >= wait {
				atomic.AddInt64(&slept, 1)
			}
		}(time.Duration(nextRandom(&x)%1000) * time.Millisecond)
	}
	group.Wait()
	return outcome{elapsed: cpuTime() - cpuStart, ops: sleepers, ok: slept == int64(sleepers)}
}

func churn(background int) outcome {
	const churns = 1_000_000
	others := make([]*time.Timer, background)
	for i := range others {
		others[i] = time.NewTimer(time.Minute + time.Duration(i%1000)*time.Millisecond)
	}
	start := time.Now()
	cancelled := 0
	for i := 0; i < churns; i++ {
		if time.NewTimer(10 * time.Second).Stop() {
			cancelled++
		}
	}
	o := since(start, churns, cancelled == churns)
	for _, other := range others {
		other.Stop()
	}
	return o
}

func timerError() outcome {
	late := make([]time.Duration, pick(10_000, 500))
	ok := true
	for i := range late {
		start := time.Now()
		time.Sleep(200 * time.Microsecond)
		late[i] = time.Since(start) - 200*time.Microsecond
		ok = ok && late[i] >= 0
	}
	return percentiles(late, ok)
}
