package cluster

import (
	"net"
	"sync"
	"testing"
)

// proxy stands between two parts of the cluster and can cut them off from each other: what is under way stays without an
// answer, and nothing new comes through, as when a network cable is pulled.
type proxy struct {
	address string
	target  string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
	held  []net.Conn // came while cut
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: ln.Addr().String(), target: target, conns: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(in) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		p.reset()
		all.Wait()
	})
	return p
}

// add keeps a connection unless the proxy is cut.
func (p *proxy) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		p.held = append(p.held, c)
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) serve(in net.Conn) {
	if !p.add(in) {
		return // silence
	}
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		in.Close()
		return
	}
	if !p.add(out) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(out, in) })
	both.Go(func() { p.copy(in, out) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, in)
	delete(p.conns, out)
}

func (p *proxy) copy(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !p.silent() {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			if !p.silent() {
				to.Close()
				from.Close()
			}
			return
		}
	}
}

func (p *proxy) silent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut
}

// pull cuts the line; mend puts it back: what was under way is reset then.
func (p *proxy) pull() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
}

func (p *proxy) mend() {
	p.mu.Lock()
	p.cut = false
	p.mu.Unlock()
	p.reset()
}

func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
	for _, c := range p.held {
		c.Close()
	}
	p.held = nil
}
