// Package line is a line between two programs that a test can cut.
package line

import (
	"net"
	"sync"
	"testing"
)

// Line stands between two programs and can cut them off from each other: what is under way stays without an answer, and
// nothing new comes through, as when a network cable is pulled.
type Line struct {
	Address string // where it listens
	target  string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
	held  []net.Conn // came while cut
}

// New makes a line to a host:port. It ends with the test.
func New(t testing.TB, target string) *Line {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{Address: ln.Addr().String(), target: target, conns: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { l.serve(in) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		l.Reset()
		all.Wait()
	})
	return l
}

// add keeps a connection unless the line is cut.
func (l *Line) add(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		l.held = append(l.held, c)
		return false
	}
	l.conns[c] = true
	return true
}

func (l *Line) serve(in net.Conn) {
	if !l.add(in) {
		return // silence
	}
	out, err := net.Dial("tcp", l.target)
	if err != nil {
		in.Close()
		return
	}
	if !l.add(out) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.copy(out, in) })
	both.Go(func() { l.copy(in, out) })
	both.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, in)
	delete(l.conns, out)
}

func (l *Line) copy(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !l.silent() {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			if !l.silent() {
				to.Close()
				from.Close()
			}
			return
		}
	}
}

func (l *Line) silent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

// Pull cuts the line.
func (l *Line) Pull() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
}

// Mend puts the line back; what was under way is reset.
func (l *Line) Mend() {
	l.mu.Lock()
	l.cut = false
	l.mu.Unlock()
	l.Reset()
}

// Reset ends the connections, as a program that is started again does.
func (l *Line) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
	for _, c := range l.held {
		c.Close()
	}
	l.held = nil
}
