package cluster

import (
	"context"
	"crypto/rand"
	"time"
)

// cutOffFor is how long the directory may be silent before the peers are asked how they see the cluster.
const cutOffFor = 3 * time.Second

// watch notices that this node was away, and has it come back.
func (m *Membership) watch(ctx context.Context) {
	ticker := time.NewTicker(watchStep)
	defer ticker.Stop()
	last := time.Now()
	var silent time.Time // since when the directory does not answer
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		paused := now.Sub(last)
		m.mu.Lock()
		missing, reachable := m.missing, m.reachable
		m.mu.Unlock()
		switch {
		case paused > pausedFor:
			m.comeBack(ctx, "the process was paused for "+paused.Round(time.Millisecond).String())
			silent = time.Time{}
		case !missing.IsZero() && now.Sub(missing) > missingFor:
			m.comeBack(ctx, "the cluster goes on without this node")
			silent = time.Time{}
		case reachable && m.away.Load():
			m.comeBack(ctx, "it was cut off")
		case reachable:
			silent = time.Time{}
		case silent.IsZero():
			silent = now
		case now.Sub(silent) > cutOffFor:
			m.lookAround(ctx)
		}
		last = time.Now()
	}
}

// comeBack drops what lives here and makes the node a new member.
func (m *Membership) comeBack(ctx context.Context, why string) {
	m.log.Warn("this node stops serving until it is a member again", "reason", why)
	m.away.Store(true)
	m.drop()
	for ctx.Err() == nil {
		err := m.rejoin(ctx)
		if err == nil {
			m.away.Store(false)
			m.log.Info("this node is a member again")
			return
		}
		m.log.Warn("this node could not come back to the cluster yet", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// drop ends every actor at once.
func (m *Membership) drop() {
	for _, a := range m.node.activations() {
		if a.id.Kind != KindNode {
			a.stop(nil, endAway)
		}
	}
}

// rejoinWithin bounds one attempt to come back.
const rejoinWithin = 15 * time.Second

func (m *Membership) rejoin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rejoinWithin)
	defer cancel()
	incarnation := rand.Text()
	m.mu.Lock()
	m.incarnation, m.missing = incarnation, time.Time{}
	m.ours[incarnation] = true
	m.mu.Unlock()
	if err := m.joining.Directory.Rejoin(ctx, incarnation); err != nil {
		return err
	}
	err := m.until(ctx, func(v *View) bool {
		self, ok := v.Member(m.self.Name)
		return ok && self.Incarnation == incarnation
	})
	if err != nil {
		return err
	}
	return m.joining.CatchUp(ctx)
}

// lookAround is for a node that the directory does not answer. If a peer is answered and the others do without this node, it
// follows that peer's view: its actors live elsewhere, and it can still say where. If no peer is answered, the directory is
// down for all and the last view stands. If no peer can be reached at all, this node is the one that is cut off, and serves
// nothing.
func (m *Membership) lookAround(ctx context.Context) {
	alone, others := true, 0
	for _, p := range m.View().Members() {
		if p.Name == m.self.Name {
			continue
		}
		others++
		look, cancel := context.WithTimeout(ctx, time.Second)
		seen, err := m.peers.look(look, p.Name)
		cancel()
		if err != nil {
			continue
		}
		alone = false
		if !seen.Reachable {
			continue
		}
		m.cutOff(func() {
			v := viewOf(seen)
			if self, ok := v.Member(m.self.Name); !ok || self.Incarnation != m.member().Incarnation {
				m.log.Warn("this node is cut off from the directory, and the cluster goes on without it", "told_by", p.Name)
			}
			m.setAway(false)
			m.follow(v)
		})
		return
	}
	m.cutOff(func() { m.setAway(alone && others > 0) })
}

// cutOff does what is right as long as the directory does not answer. If it has meanwhile, what it said is newer than what a peer
// did, and it does not say it twice.
func (m *Membership) cutOff(f func()) {
	m.following.Lock()
	defer m.following.Unlock()
	m.mu.Lock()
	reachable := m.reachable
	m.mu.Unlock()
	if !reachable {
		f()
	}
}

// setAway stops or begins to serve without a new incarnation.
func (m *Membership) setAway(away bool) {
	if m.away.Swap(away) == away {
		return
	}
	if away {
		m.log.Error("this node reaches neither the directory nor any other node: it stops serving")
		m.drop()
	} else {
		m.log.Info("this node reaches the cluster again")
	}
}
