package kill

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// gate is how clients reach a server that is killed and started again. Requests wait while it is down. One whose
// connection the kill has broken, whether the server carried it out or not, is repeated when the server is back: that is
// what clients do. A connection that breaks without a kill is an error.
type gate struct {
	mu     sync.Mutex
	life   *life
	opened chan struct{} // closed when there is a life
	lives  int
}

// life is the time from a start of the server to its kill.
type life struct {
	number int
	http   *http.Transport
	over   chan struct{}
}

func newGate() *gate { return &gate{opened: make(chan struct{})} }

// open says that the server listens.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lives++
	g.life = &life{number: g.lives, http: &http.Transport{MaxIdleConnsPerHost: 64}, over: make(chan struct{})}
	close(g.opened)
}

// close says that the server is going to be killed.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.life.over)
	g.life, g.opened = nil, make(chan struct{})
}

// wait gives the present life of the server, or the next one.
func (g *gate) wait(ctx context.Context) (*life, error) {
	for {
		g.mu.Lock()
		life, opened := g.life, g.opened
		g.mu.Unlock()
		if life != nil {
			return life, nil
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// RoundTrip implements http.RoundTripper. The answer has been read to its end.
func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	for {
		life, err := g.wait(r.Context())
		if err != nil {
			return nil, err
		}
		resp, err := life.try(r)
		if err == nil {
			return resp, nil
		}
		select {
		case <-life.over:
		default:
			return nil, fmt.Errorf("the connection broke although the server was not killed: %w", err)
		}
	}
}

func (l *life) try(r *http.Request) (*http.Response, error) {
	again := r.Clone(r.Context())
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		again.Body = body
	}
	resp, err := l.http.RoundTrip(again)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, err
}
