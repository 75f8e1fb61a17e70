package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	pageBytes   = 4096
	pageReads   = 2_000_000
	fileReaders = 64
	smallFiles  = 10_000
	smallRounds = 5
	smallBytes  = 1000
)

var large *os.File
var largePages int

// makeLarge makes a file whose pages begin with their numbers, once.
func makeLarge() {
	if large != nil {
		return
	}
	var err error
	large, err = os.CreateTemp("", "filch-bench-")
	if err != nil {
		fail(err)
	}
	os.Remove(large.Name())
	largePages = pick(1<<30, 64<<20) / pageBytes
	chunk := make([]byte, 256*pageBytes)
	for page := 0; page < largePages; page += 256 {
		for i := 0; i < 256; i++ {
			binary.LittleEndian.PutUint32(chunk[i*pageBytes:], uint32(page+i))
		}
		if _, err := large.Write(chunk); err != nil {
			fail(err)
		}
	}
}

func fsRead() outcome {
	makeLarge()
	var group sync.WaitGroup
	var wrong int64
	start := time.Now()
	group.Add(fileReaders)
	for i := 0; i < fileReaders; i++ {
		state := 0x9e3779b97f4a7c15 * uint64(i+1)
		go func() {
			defer group.Done()
			buf := make([]byte, pageBytes)
			for n := 0; n < pageReads/fileReaders; n++ {
				state ^= state << 13
				state ^= state >> 7
				state ^= state << 17
				page := int(uint32(state>>20)) % largePages
				got, _ := large.ReadAt(buf, int64(page)*pageBytes)
				if got != pageBytes || binary.LittleEndian.Uint32(buf) != uint32(page) {
					atomic.AddInt64(&wrong, 1)
				}
			}
		}()
	}
	group.Wait()
	return since(start, pageReads, wrong == 0)
}

var smallDir string

func smallPath(number int64) string {
	return filepath.Join(smallDir, fmt.Sprint(number))
}

// readSmall has goroutines read the files in turn, and gives the bytes they have read.
func readSmall(goroutines int) int64 {
	var group sync.WaitGroup
	var next, bytes int64
	group.Add(goroutines)
	for i := 0; i < goroutines; i++ {
		go func() {
			defer group.Done()
			buf := make([]byte, pageBytes)
			for {
				number := atomic.AddInt64(&next, 1) - 1
				if number >= smallFiles*smallRounds {
					return
				}
				file, err := os.Open(smallPath(number % smallFiles))
				if err != nil {
					fail(err)
				}
				n, _ := io.ReadFull(file, buf)
				atomic.AddInt64(&bytes, int64(n))
				file.Close()
			}
		}()
	}
	group.Wait()
	return bytes
}

func fsSmall() outcome {
	var err error
	smallDir, err = os.MkdirTemp("", "filch-bench-")
	if err != nil {
		fail(err)
	}
	defer os.RemoveAll(smallDir)
	for i := int64(0); i < smallFiles; i++ {
		if err := os.WriteFile(smallPath(i), make([]byte, smallBytes), 0600); err != nil {
			fail(err)
		}
	}
	const files = smallFiles * smallRounds
	perFile := func(start time.Time) float64 {
		return float64(time.Since(start).Nanoseconds()) / files
	}
	start := time.Now()
	one := readSmall(1)
	oneTime := perFile(start)
	start = time.Now()
	many := readSmall(fileReaders)
	manyTime := perFile(start)
	ok := one == files*smallBytes && many == files*smallBytes
	return outcome{ok: ok, figures: []figure{{"time", "ns/file", oneTime}, {"tasks_64", "ns/file", manyTime}}}
}
