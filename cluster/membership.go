package cluster

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/messages"
)

// Joining says how a node takes part in a cluster.
type Joining struct {
	Directory Directory
	Listener  net.Listener // for the other nodes
	Address   string       // at which they reach it; the listener's when empty
	TLS       *tls.Config  // of SecretTLS or FileTLS; nil: no encryption and no authentication
	Version   string
	Weight    float64 // relative to the other nodes; 0: it takes no actors
	// CatchUp brings the node up to date with what the others committed while it was away, before it serves again.
	CatchUp func(context.Context) error
	// Lost is called once when the node cannot go on: another process has its name.
	Lost func(error)
}

// Membership is a node's part in a cluster.
//
// It keeps the view, ends the actors that live elsewhere now, and notices when this node was away: paused, cut off, or
// declared dead. A node that was away drops its actors without a word, because others may have taken them over, and
// comes back as a new member. What its actors still had in flight is settled by the store, which knows the epochs.
type Membership struct {
	node    *Node
	joining Joining
	log     *slog.Logger
	self    Member // but for the incarnation
	peers   *peers
	server  *peerServer
	view    atomic.Pointer[View]
	away    atomic.Bool // nothing lives here
	held    holds
	stop    context.CancelFunc
	running sync.WaitGroup
	changed chan struct{} // of capacity one: the view or the holds are new
	// following is held from when it is known whose view counts until it is followed, so that none that is older follows after.
	following sync.Mutex

	mu          sync.Mutex
	incarnation string
	ours        map[string]bool // every incarnation that this process had
	reachable   bool
	seen        *View     // what the directory says, whether or not it is followed
	missing     time.Time // since when this node is not in its own view; zero while it is
	viewed      chan struct{}
}

// The watchdog looks around every watchStep. A node that could not do so for pausedFor, or that has been missing from its own
// view for missingFor, was away: by then the others do without it.
const (
	watchStep  = 250 * time.Millisecond
	pausedFor  = 2500 * time.Millisecond
	missingFor = 4 * time.Second
)

// Join makes the node a member. From then on its actors are those that the view gives it.
func (n *Node) Join(ctx context.Context, j Joining) (*Membership, error) {
	creds := insecure.NewCredentials()
	if j.TLS != nil {
		creds = credentials.NewTLS(j.TLS)
	}
	if j.Address == "" {
		j.Address = j.Listener.Addr().String()
	}
	m := &Membership{node: n, joining: j, log: n.opts.Logger, peers: newPeers(creds), changed: make(chan struct{}, 1),
		self: Member{Name: n.opts.Name, Address: j.Address, Version: j.Version, Weight: j.Weight}, viewed: make(chan struct{})}
	m.view.Store(NewView(nil, nil))
	m.incarnation = rand.Text()
	m.ours = map[string]bool{m.incarnation: true}
	m.away.Store(true)
	n.membership.Store(m)
	m.server = servePeers(n, j.Listener, creds, m.answerLook, m.log)
	if err := j.Directory.Join(ctx, m.member(), m.observe); err != nil {
		m.server.grpc.Stop()
		m.peers.close()
		return nil, err
	}
	m.away.Store(false)
	background, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.running.Go(func() { m.watch(background) })
	m.running.Go(func() { m.tidy(background) })
	return m, nil
}

// member is what the others see of this node.
func (m *Membership) member() Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	self := m.self
	self.Incarnation = m.incarnation
	return self
}

// SetWeight changes this node's share of the actors; those that are no longer its own move.
func (m *Membership) SetWeight(ctx context.Context, weight float64) error {
	m.mu.Lock()
	m.self.Weight = weight
	m.mu.Unlock()
	return m.joining.Directory.SetWeight(ctx, weight)
}

// View is the cluster as this node sees it.
func (m *Membership) View() *View { return m.view.Load() }

// Serving reports whether actors live here now, and why not.
func (m *Membership) Serving() error {
	if m.away.Load() {
		return errAway
	}
	if self, ok := m.View().Member(m.self.Name); ok && self.Draining {
		return errDraining
	}
	return nil
}

var (
	errAway     = fmt.Errorf("this node is not part of the cluster now")
	errDraining = fmt.Errorf("this node is being drained")
)

func (m *Membership) takes(id Identity) bool {
	return id.Kind == KindNode || !m.away.Load() && !m.held.has(id)
}

// observe takes in what the directory says. It is called one at a time.
func (m *Membership) observe(o Observation) {
	m.following.Lock()
	defer m.following.Unlock()
	m.mu.Lock()
	m.reachable, m.seen = o.Reachable, o.View
	self, there := o.View.Member(m.self.Name)
	taken := there && !m.ours[self.Incarnation]
	there = there && self.Incarnation == m.incarnation
	switch {
	case there:
		m.missing = time.Time{}
	case o.Reachable && m.missing.IsZero():
		m.missing = time.Now()
	}
	m.mu.Unlock()
	if taken && o.Reachable {
		m.joining.Lost(fmt.Errorf("another process (%s at %s) has taken the node name %q", self.Incarnation, self.Address, self.Name))
		return
	}
	m.follow(o.View)
}

// follow makes this the view that counts. The caller holds following.
func (m *Membership) follow(v *View) {
	if err := m.peers.update(v, m.self.Name); err != nil {
		m.log.Error("a member cannot be reached", "error", err)
	}
	m.logChanges(m.view.Swap(v), v)
	m.mu.Lock()
	close(m.viewed)
	m.viewed = make(chan struct{})
	m.mu.Unlock()
	m.wake()
}

func (m *Membership) wake() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (m *Membership) logChanges(old, now *View) {
	for _, was := range old.Members() {
		if is, ok := now.Member(was.Name); !ok {
			m.log.Warn("a node has left the cluster", "member", was.Name)
		} else if is.Incarnation != was.Incarnation {
			m.log.Info("a node came back to the cluster", "member", is.Name, "address", is.Address)
		} else if is.Draining != was.Draining {
			m.log.Info("a node is drained", "member", is.Name, "draining", is.Draining)
		}
	}
	for _, is := range now.Members() {
		if _, ok := old.Member(is.Name); !ok {
			m.log.Info("a node has joined the cluster", "member", is.Name, "address", is.Address, "version", is.Version)
		}
	}
}

// nextView is closed when another view counts than now.
func (m *Membership) nextView() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.viewed
}

// until waits for a view that satisfies the condition.
func (m *Membership) until(ctx context.Context, is func(*View) bool) error {
	for {
		viewed := m.nextView()
		if is(m.View()) {
			return nil
		}
		select {
		case <-viewed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tidy ends the actors that live elsewhere now, after every change of the view.
func (m *Membership) tidy(ctx context.Context) {
	for {
		select {
		case <-m.changed:
		case <-ctx.Done():
			return
		}
		n := m.node
		leaving := slices.DeleteFunc(n.activations(), func(a *activation) bool { return n.takes(a.id) })
		if len(leaving) == 0 {
			continue
		}
		start := time.Now()
		if err := n.stopAll(ctx, leaving); err != nil && ctx.Err() == nil {
			m.log.Error("actors that live elsewhere did not stop", "error", err)
		}
		m.log.Info("actors went to other nodes", "count", len(leaving), "took", time.Since(start).Round(time.Millisecond))
	}
}

// Broadcast tells the node actor of every other member. It may be lost.
func (m *Membership) Broadcast(message proto.Message) {
	for _, member := range m.View().Members() {
		if member.Name != m.self.Name {
			m.peers.tell(member.Name, Identity{Kind: KindNode, ID: member.Name}, message)
		}
	}
}

// Move has the actor live on a member from now on, or where the hash says when to is zero. It must be called on the node
// where the actor lives: that stops the actor first, and holds back what is asked of it until the other may take over.
func (m *Membership) Move(ctx context.Context, id Identity, to Override) error {
	release := m.held.hold(id)
	defer func() {
		release()
		m.wake()
	}()
	if err := m.node.Deactivate(ctx, id); err != nil {
		return err
	}
	if err := m.joining.Directory.Move(ctx, id, to); err != nil {
		return fmt.Errorf("the move could not be announced: %w", err)
	}
	return m.until(ctx, func(v *View) bool { return v.Overrides()[id] == to })
}

// Drain announces that the member gives away what it owns, or that it takes actors again.
func (m *Membership) Drain(ctx context.Context, member string, draining bool) error {
	if err := m.joining.Directory.SetDraining(ctx, member, draining); err != nil {
		return fmt.Errorf("it could not be announced: %w", err)
	}
	return m.until(ctx, func(v *View) bool {
		is, ok := v.Member(member)
		return !ok || is.Draining == draining
	})
}

// Empty waits until no actor but the node's own is left here.
func (m *Membership) Empty(ctx context.Context) error {
	for {
		left := slices.DeleteFunc(m.node.activations(), func(a *activation) bool { return a.id.Kind == KindNode || m.node.takes(a.id) })
		if len(left) == 0 {
			return nil
		}
		if err := m.node.stopAll(ctx, left); err != nil {
			return err
		}
	}
}

// Leave takes the node out of the cluster. Node.Stop comes after it.
func (m *Membership) Leave(ctx context.Context) error {
	err := m.joining.Directory.Leave(ctx)
	m.stop()
	m.running.Wait()
	m.server.grpc.Stop()
	m.peers.close()
	return err
}

// holds are the actors that are on their way to another node.
type holds struct {
	mu   sync.Mutex
	held map[Identity]int
}

func (h *holds) has(id Identity) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held[id] > 0
}

func (h *holds) hold(id Identity) (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held == nil {
		h.held = map[Identity]int{}
	}
	h.held[id]++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.held[id]--; h.held[id] == 0 {
			delete(h.held, id)
		}
	}
}

func (m *Membership) answerLook() *messages.PeerView {
	m.mu.Lock()
	v, reachable := m.seen, m.reachable
	m.mu.Unlock()
	answer := &messages.PeerView{Reachable: reachable}
	if v == nil {
		return answer
	}
	for _, p := range v.Members() {
		answer.Members = append(answer.Members, &messages.PeerMember{Name: p.Name, Incarnation: p.Incarnation, Address: p.Address,
			Version: p.Version, Weight: p.Weight, Draining: p.Draining})
	}
	for id, to := range v.Overrides() {
		answer.Overrides = append(answer.Overrides, &messages.PeerOverride{Kind: id.Kind, Id: id.ID, Member: to.Member, Pinned: to.Pinned})
	}
	return answer
}

func viewOf(p *messages.PeerView) *View {
	var members []Member
	for _, q := range p.Members {
		members = append(members, Member{Name: q.Name, Incarnation: q.Incarnation, Address: q.Address, Version: q.Version, Weight: q.Weight, Draining: q.Draining})
	}
	overrides := map[Identity]Override{}
	for _, o := range p.Overrides {
		overrides[Identity{Kind: o.Kind, ID: o.Id}] = Override{o.Member, o.Pinned}
	}
	return NewView(members, overrides)
}

// Members lists the names of the nodes of the cluster, of which a node that is alone is the only one.
func (n *Node) Members() []string {
	m := n.membership.Load()
	if m == nil {
		return []string{n.opts.Name}
	}
	var names []string
	for _, member := range m.View().Members() {
		names = append(names, member.Name)
	}
	return names
}

// Membership is the node's part in a cluster, nil when it is alone.
func (n *Node) Membership() *Membership { return n.membership.Load() }

// Owner is the name of the node on which the actor lives, or would; "" when nobody can have it now.
func (n *Node) Owner(id Identity) string { return n.owner(id) }
