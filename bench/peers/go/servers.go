package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
)

func listen() net.Listener {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	fmt.Printf("port %d\n", listener.Addr().(*net.TCPAddr).Port)
	return listener
}

// echo serves one connection. Go sets TCP_NODELAY on every connection itself.
func echo(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 16384)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if _, err = conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func serveEcho() {
	listener := listen()
	for {
		conn, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		go echo(conn)
	}
}

func echoDatagrams(conn *net.UDPConn) {
	buffer := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			fail(err)
		}
		if _, err = conn.WriteToUDPAddrPort(buffer[:n], from); err != nil {
			fail(err)
		}
	}
}

// serveUDP has one socket, and a goroutine per processor.
func serveUDP(goroutines int) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		fail(err)
	}
	fmt.Printf("port %d\n", conn.LocalAddr().(*net.UDPAddr).Port)
	for i := 1; i < goroutines; i++ {
		go echoDatagrams(conn)
	}
	echoDatagrams(conn)
}

func serveHTTP() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "Hello, World!")
	})
	fail(http.Serve(listen(), nil))
}

// fetch gets a URL so many times, from so many goroutines, and prints how many answers had status 200.
func fetch(url string, requests, tasks int64) {
	transport := &http.Transport{MaxIdleConnsPerHost: int(tasks), MaxConnsPerHost: int(tasks)}
	client := &http.Client{Transport: transport}
	var good int64
	var group sync.WaitGroup
	for i := int64(0); i < tasks; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for atomic.AddInt64(&requests, -1) >= 0 {
				answer, err := client.Get(url)
				if err != nil {
					fail(err)
				}
				if _, err = io.Copy(io.Discard, answer.Body); err != nil {
					fail(err)
				}
				answer.Body.Close()
				if answer.StatusCode == 200 {
					atomic.AddInt64(&good, 1)
				}
			}
		}()
	}
	group.Wait()
	fmt.Printf("answers=%d\n", good)
}

func fetchAsTold(args []string) {
	if len(args) < 3 {
		fail("usage: go-peer fetch URL REQUESTS TASKS [--workers N]")
	}
	requests, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		fail(err)
	}
	tasks, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		fail(err)
	}
	fetch(args[0], requests, tasks)
}
