package destination

import (
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// pending is what waits to be written, and who waits for it. One commit is in flight; what comes meanwhile goes with the next.
type pending struct {
	rows       []persistence.Mutation
	then       []func(error)
	committing bool
	inFlight   []func(error)
}

// add has the rows written with the next commit; then, unless nil, hears what became of it.
func (p *pending) add(then func(error), rows ...persistence.Mutation) {
	p.rows = append(p.rows, rows...)
	if then != nil {
		p.then = append(p.then, then)
	}
}

func (p *pending) any() bool { return p.committing || len(p.rows) > 0 }

// fail tells everybody who waits that it will not be known what became of it.
func (p *pending) fail(err error) {
	for _, then := range append(p.inFlight, p.then...) {
		then(err)
	}
	p.inFlight, p.then = nil, nil
}

// save has the row of the destination written.
func (a *actor) save(then func(error)) { a.pending.add(then, schema.Destinations.Put(a.row)) }

// flush submits what is pending, unless a commit is in flight.
func (a *actor) flush() {
	p := &a.pending
	if p.committing || len(p.rows) == 0 {
		return
	}
	commit := &persistence.Commit{Stream: a.stream(), Epoch: a.epoch, Seq: a.seq, Advance: 1, Write: p.rows}
	p.committing, p.inFlight, p.rows, p.then = true, p.then, nil, nil
	self := a.self
	a.deps.Store.Submit(commit, func(_ persistence.Position, err error) { self.Send(committed{err}) })
}

func (a *actor) committed(err error) {
	p := &a.pending
	if err != nil {
		a.end(err)
		return
	}
	a.seq++
	then := p.inFlight
	p.committing, p.inFlight = false, nil
	for _, f := range then {
		f(nil)
	}
}
