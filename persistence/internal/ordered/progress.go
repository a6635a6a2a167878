package ordered

import (
	"context"
	"sync"
	"sync/atomic"
)

// Progress is a number that grows, for which others may wait. The zero value stands at zero.
type Progress struct {
	now atomic.Uint64

	mu      sync.Mutex
	moved   chan struct{} // closed at the next change; nil while nobody waits
	failure error
}

// Now is where it stands.
func (p *Progress) Now() uint64 { return p.now.Load() }

// Set moves it forward.
func (p *Progress) Set(to uint64) {
	p.now.Store(to)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake()
}

// Fail says that it will not move any more.
func (p *Progress) Fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = err
	p.wake()
}

func (p *Progress) wake() {
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// Wait returns when it has reached the number, has failed, or the context has ended.
func (p *Progress) Wait(ctx context.Context, number uint64) error {
	for {
		p.mu.Lock()
		if p.now.Load() >= number {
			p.mu.Unlock()
			return nil
		}
		if p.failure != nil {
			p.mu.Unlock()
			return p.failure
		}
		if p.moved == nil {
			p.moved = make(chan struct{})
		}
		moved := p.moved
		p.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
