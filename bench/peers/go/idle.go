package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// statusNumber is the number after a key such as "VmRSS:" in a status file of /proc.
func statusNumber(path, key string) (number float64) {
	text, _ := os.ReadFile(path)
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, key) {
			fmt.Sscan(line[len(key):], &number)
		}
	}
	return
}

func processBytes(key string) float64 {
	return statusNumber("/proc/self/status", key) * 1024
}

func processSwitches() (sum float64) {
	threads, _ := filepath.Glob("/proc/self/task/*/status")
	for _, path := range threads {
		sum += statusNumber(path, "voluntary_ctxt_switches:")
		sum += statusNumber(path, "nonvoluntary_ctxt_switches:")
	}
	return
}

func memTask() outcome {
	sleepers := pick(1_000_000, 100_000)
	var arrived, woken int64
	rss, tables := processBytes("VmRSS:"), processBytes("VmPTE:")
	all := make(chan struct{})
	start := time.Now()
	for i := 0; i < sleepers; i++ {
		go func() {
			if atomic.AddInt64(&arrived, 1) == int64(sleepers) {
				close(all)
			}
			time.Sleep(600 * time.Second)
			atomic.AddInt64(&woken, 1)
		}()
	}
	<-all
	took := time.Since(start)
	n := float64(sleepers)
	return outcome{ok: atomic.LoadInt64(&woken) == 0, figures: []figure{
		{"create", "ns/task", float64(took.Nanoseconds()) / n},
		{"rss", "B/task", (processBytes("VmRSS:") - rss) / n},
		{"page_tables", "B/task", (processBytes("VmPTE:") - tables) / n},
	}}
}

func idleCPU() outcome {
	const parked = 10_000
	seconds := float64(pick(10, 1))
	gate := make(chan struct{})
	var arrived, left sync.WaitGroup
	arrived.Add(parked)
	left.Add(parked)
	for i := 0; i < parked; i++ {
		go func() {
			arrived.Done()
			<-gate
			left.Done()
		}()
	}
	arrived.Wait()
	time.Sleep(500 * time.Millisecond)
	cpu, switches := cpuTime(), processSwitches()
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	cpu, switches = cpuTime()-cpu, processSwitches()-switches
	close(gate)
	left.Wait()
	return outcome{ok: true, figures: []figure{
		{"cpu", "ms", cpu.Seconds() * 1e3 * 10 / seconds},
		{"switches", "count", switches * 10 / seconds},
	}}
}
