// Package line is a line between two programs that a test can cut.
package line

import (
	"net"
	"sync"
	"testing"
)

// Line stands between programs and one that they speak to, and can cut them off from it: what is under way stays without an
// answer, and nothing new comes through, as when a network cable is pulled.
type Line struct {
	Address string // where it listens
	target  string
	t       testing.TB

	mu    sync.Mutex
	cut   bool
	from  map[int]bool // process ids of those who are cut off while the others are not
	wires map[*wire]bool
}

// wire is a connection through the line.
type wire struct {
	in, out net.Conn // out is nil while there is none
	silent  bool     // cut: nothing passes, the end of either side neither
}

// New makes a line to a host:port. It ends with the test.
func New(t testing.TB, target string) *Line {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{Address: ln.Addr().String(), target: target, t: t, from: map[int]bool{}, wires: map[*wire]bool{}}
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

func (l *Line) serve(in net.Conn) {
	w := &wire{in: in}
	if !l.add(w) {
		return // silence, until the line is mended
	}
	out, err := net.Dial("tcp", l.target)
	if err != nil {
		l.remove(w)
		in.Close()
		return
	}
	l.mu.Lock()
	w.out = out
	gone := !l.wires[w]
	l.mu.Unlock()
	if gone { // reset meanwhile
		out.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.copy(w, out, in) })
	both.Go(func() { l.copy(w, in, out) })
	both.Wait()
	l.remove(w)
	in.Close()
	out.Close()
}

// add keeps the wire, and reports whether anything passes through it.
func (l *Line) add(w *wire) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wires[w] = true
	w.silent = l.cut || l.isFrom(w)
	return !w.silent
}

func (l *Line) remove(w *wire) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.wires, w)
}

// isFrom reports whether the wire comes from somebody who is cut off. The caller holds mu.
func (l *Line) isFrom(w *wire) bool {
	for pid := range l.from {
		is, err := owns(pid, w.in.RemoteAddr())
		if err != nil {
			l.t.Errorf("whose connection it is cannot be said: %v", err)
		}
		if is {
			return true
		}
	}
	return false
}

func (l *Line) copy(w *wire, to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !l.silent(w) {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			if !l.silent(w) {
				to.Close()
				from.Close()
			}
			return
		}
	}
}

func (l *Line) silent(w *wire) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return w.silent
}

// Pull cuts the line.
func (l *Line) Pull() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for w := range l.wires {
		w.silent = true
	}
}

// PullFrom cuts off the process, which needs Linux to be told from others.
func (l *Line) PullFrom(pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.from[pid] = true
	for w := range l.wires {
		w.silent = w.silent || l.isFrom(w)
	}
}

// Mend puts the line back; what was under way is reset.
func (l *Line) Mend() {
	l.mu.Lock()
	l.cut = false
	clear(l.from)
	l.mu.Unlock()
	l.Reset()
}

// Reset ends the connections, as a program that is started again does.
func (l *Line) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.wires {
		w.in.Close()
		if w.out != nil {
			w.out.Close()
		}
	}
	clear(l.wires)
}
