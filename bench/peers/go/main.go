// Go as a peer: `go-peer BENCH --workers N`. A task benchmark runs once as warm-up and once
// measured, and prints `result name=... value=... unit=... check=ok`; `echo` and `http` serve until
// they are terminated. The workloads are those of filch's own benchmark programs, name for name.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"
)

// outcome is what one run took, for how many operations, and whether its answer was right; or, where
// there are several, its figures.
type outcome struct {
	elapsed time.Duration
	ops     int
	ok      bool
	figures []figure
}

type figure struct {
	metric, unit string
	value        float64
}

func since(start time.Time, ops int, ok bool) outcome {
	return outcome{elapsed: time.Since(start), ops: ops, ok: ok}
}

// percentiles sorts the samples.
func percentiles(samples []time.Duration, ok bool) outcome {
	sort.Slice(samples, func(i, j int) bool { return samples[i] < samples[j] })
	at := func(percent int) float64 {
		return float64(samples[len(samples)*percent/100].Nanoseconds()) / 1e3
	}
	return outcome{ok: ok, figures: []figure{{"p50_us", "us", at(50)}, {"p99_us", "us", at(99)}}}
}

type bench struct {
	unit string
	run  func() outcome
}

// cold benchmarks have no warm-up.
var cold = map[string]bool{"spawn_wake": true, "timer_error": true, "mem_task": true, "idle_cpu": true}

var quick bool

// pick gives the size of a workload, which --quick makes smaller.
func pick(whole, short int) int {
	if quick {
		return short
	}
	return whole
}

var benches = map[string]bench{
	"spawn_join":     {"ns/task", spawnJoin},
	"spawn_join1":    {"ns/task", spawnJoin1},
	"spawn_detached": {"ns/task", spawnDetached},
	"chain":          {"ns/task", chain},
	"yield":          {"ns/yield", yield},
	"oneshot":        {"ns/op", oneshot},
	"pingpong_1":     {"ns/round trip", func() outcome { return pingpong(1, 300_000) }},
	"pingpong_1000":  {"ns/round trip", func() outcome { return pingpong(1000, 1000) }},
	"mpsc_1p":        {"ns/msg", func() outcome { return bounded(1, 1) }},
	"mpsc_8p":        {"ns/msg", func() outcome { return bounded(8, 1) }},
	"mpmc_4x4":       {"ns/msg", func() outcome { return bounded(4, 4) }},
	"umpsc_1p":       {"ns/msg", func() outcome { return unbounded(1) }},
	"umpsc_8p":       {"ns/msg", func() outcome { return unbounded(8) }},
	"mutex_4":        {"ns/op", mutex4},
	"rwlock_4":       {"ns/op", rwlock4},
	"semaphore":      {"ns/op", func() outcome { return semaphore(4, 2) }},
	"semaphore_1":    {"ns/op", func() outcome { return semaphore(1, 1) }},
	"notify":         {"ns/round-trip", notify},
	"select_4":       {"ns/msg", select4},
	"watch":          {"ns/look", watch},
	"broadcast":      {"ns/look", broadcast},
	"broadcast_keep": {"ns/look", broadcast},
	"rcu_read":       {"", rcuRead},
	"fs_read":        {"ns/read", fsRead},
	"fs_small":       {"", fsSmall},
	"spawn_wake":     {"us", spawnWake},
	"timer_error":    {"us", timerError},
	"mem_task":       {"", memTask},
	"idle_cpu":       {"", idleCPU},
	"timers":         {"CPU ns/timer", timers},
	"churn":          {"ns/op", func() outcome { return churn(0) }},
	"churn_bg":       {"ns/op", func() outcome { return churn(100_000) }},
}

func workers(args []string) int {
	count := runtime.NumCPU()
	for i, arg := range args {
		if arg == "--quick" {
			quick = true
		}
		if arg == "--workers" && i+1 < len(args) {
			if n, err := strconv.Atoi(args[i+1]); err == nil {
				count = n
			}
		}
	}
	return count
}

func fail(what interface{}) {
	fmt.Fprintln(os.Stderr, what)
	os.Exit(1)
}

func runBench(name string) {
	b, ok := benches[name]
	if !ok {
		fmt.Fprintln(os.Stderr, "no benchmark of that name: "+name)
		os.Exit(2)
	}
	if !cold[name] {
		b.run()
		runtime.GC()
	}
	o := b.run()
	if o.figures == nil {
		o.figures = []figure{{"", b.unit, float64(o.elapsed.Nanoseconds()) / float64(o.ops)}}
	}
	check := "ok"
	if !o.ok {
		check = "FAILED"
	}
	for _, f := range o.figures {
		metric := ""
		if f.metric != "" {
			metric = " metric=" + f.metric
		}
		fmt.Printf("result name=%s%s value=%.1f unit=%s check=%s\n", name, metric, f.value,
			strings.ReplaceAll(f.unit, " ", "_"), check)
	}
	if !o.ok {
		os.Exit(1)
	}
}

func main() {
	if len(os.Args) < 2 {
		fail("usage: go-peer BENCH [--workers N]")
	}
	runtime.GOMAXPROCS(workers(os.Args))
	switch name := os.Args[1]; name {
	case "echo":
		serveEcho()
	case "udp-echo":
		serveUDP(workers(os.Args))
	case "http":
		serveHTTP()
	case "fetch":
		fetchAsTold(os.Args[2:])
	default:
		runBench(name)
	}
}
