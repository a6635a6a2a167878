// Package consul lets the nodes of a cluster find each other through Consul.
//
// Each node is a service with a check that it refreshes every second; whoever does not is gone three seconds later. What
// operators moved and drained stands in Consul's key-value store. Consul may be restarted, even without its memory, at any
// time: the nodes register again, put back what was in the store, and go on with what they knew meanwhile.
package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/matrixon/matrixon/cluster"
)

// Options say which Consul, and who we are. Zero durations mean the defaults.
type Options struct {
	Address    string // host:port of an agent
	Token      string // of Consul's access control
	ServerName string // servers with other names do not see each other
	Logger     *slog.Logger
	TTL        time.Duration // 3 s: how long a node is believed to live that does not say so
	Heartbeat  time.Duration // 1 s
	Wait       time.Duration // 5 s: how long a question for changes waits
}

// service is the name under which all nodes of all servers register.
const service = "matrixon"

// requestTimeout bounds a request that does not wait for changes.
const requestTimeout = 2 * time.Second

// Directory implements cluster.Directory.
type Directory struct {
	options Options
	client  *api.Client
	log     *slog.Logger
	stop    context.CancelFunc
	running sync.WaitGroup
	news    chan struct{} // of capacity one: something may have to be told
	changed func(cluster.Observation)

	mu         sync.Mutex
	self       cluster.Member
	ours       map[string]bool // incarnations that we registered
	taken      bool            // another process has our name
	members    []cluster.Member
	before     []cluster.Member // as they were before an outage, until recovered
	recovered  time.Time
	entries    entries
	keyIndex   uint64 // the newest index of the keys
	hasMembers bool
	hasEntries bool
	answered   time.Time
	// interrupted says that a question for changes has failed: Consul may have been started again.
	interrupted bool
	told        chan struct{} // closed when an observation has been told
	last        cluster.Observation
}

// New prepares a directory; Join uses it.
func New(o Options) (*Directory, error) {
	setDefault(&o.TTL, 3*time.Second)
	setDefault(&o.Heartbeat, time.Second)
	setDefault(&o.Wait, 5*time.Second)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	config := api.DefaultConfig()
	config.Address, config.Token, config.Scheme = o.Address, o.Token, "http"
	client, err := api.NewClient(config)
	if err != nil {
		return nil, err
	}
	return &Directory{options: o, client: client, log: o.Logger, news: make(chan struct{}, 1), ours: map[string]bool{}, told: make(chan struct{})}, nil
}

func setDefault(d *time.Duration, to time.Duration) {
	if *d <= 0 {
		*d = to
	}
}

// Join implements cluster.Directory.
func (d *Directory) Join(ctx context.Context, self cluster.Member, changed func(cluster.Observation)) error {
	d.mu.Lock()
	d.self, d.changed = self, changed
	d.ours[self.Incarnation] = true
	d.mu.Unlock()
	err := retry(ctx, func(ctx context.Context) error {
		if err := d.register(ctx); err != nil {
			return err
		}
		return d.write(ctx, drainKey(self.Name), "")
	})
	if err != nil {
		return fmt.Errorf("consul at %s does not answer; is its address right, and does it run? %w", d.options.Address, err)
	}
	background, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.running.Go(func() { d.heartbeat(background) })
	d.running.Go(func() { d.watch(background, "members", d.readMembers) })
	d.running.Go(func() { d.watch(background, "keys", d.readEntries) })
	d.running.Go(func() { d.tell(background) })
	err = d.until(ctx, func(o cluster.Observation) bool {
		m, ok := o.View.Member(self.Name)
		return ok && m.Incarnation == self.Incarnation
	})
	if err != nil {
		stop()
		d.running.Wait()
		return fmt.Errorf("this node does not appear in consul at %s: %w", d.options.Address, err)
	}
	return nil
}

// Leave implements cluster.Directory. Whether the node is drained stands until it joins again: were that taken away here, others might hear of
// it first, and give actors back to a node that has gone.
func (d *Directory) Leave(ctx context.Context) error {
	d.stop()
	d.running.Wait()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	d.mu.Lock()
	taken, name := d.taken, d.self.Name
	d.mu.Unlock()
	if taken {
		return nil
	}
	return d.client.Agent().ServiceDeregisterOpts(d.id(name), new(api.QueryOptions).WithContext(ctx))
}

// Rejoin implements cluster.Directory.
func (d *Directory) Rejoin(ctx context.Context, incarnation string) error {
	d.mu.Lock()
	d.self.Incarnation = incarnation
	d.ours[incarnation] = true
	d.mu.Unlock()
	return retry(ctx, d.register)
}

// SetWeight implements cluster.Directory.
func (d *Directory) SetWeight(ctx context.Context, weight float64) error {
	d.mu.Lock()
	was := d.self.Weight
	d.self.Weight = weight
	name := d.self.Name
	d.mu.Unlock()
	if weight == was {
		return nil
	}
	if err := d.register(ctx); err != nil {
		d.mu.Lock()
		d.self.Weight = was
		d.mu.Unlock()
		return err
	}
	return d.until(ctx, func(o cluster.Observation) bool {
		m, ok := o.View.Member(name)
		return !ok || m.Weight == weight
	})
}

// SetDraining implements cluster.Directory.
func (d *Directory) SetDraining(ctx context.Context, member string, draining bool) error {
	value := ""
	if draining {
		value = "draining"
	}
	if err := d.write(ctx, drainKey(member), value); err != nil {
		return err
	}
	return d.until(ctx, func(o cluster.Observation) bool {
		m, ok := o.View.Member(member)
		return !ok || m.Draining == draining
	})
}

// Move implements cluster.Directory.
func (d *Directory) Move(ctx context.Context, id cluster.Identity, to cluster.Override) error {
	if err := d.write(ctx, placementKey(id), formatOverride(to)); err != nil {
		return err
	}
	return d.until(ctx, func(o cluster.Observation) bool { return o.View.Overrides()[id] == to })
}

// until waits until an observation was told that satisfies the condition.
func (d *Directory) until(ctx context.Context, is func(cluster.Observation) bool) error {
	for {
		d.mu.Lock()
		told, last := d.told, d.last
		d.mu.Unlock()
		if last.View != nil && is(last) {
			return nil
		}
		select {
		case <-told:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *Directory) id(node string) string {
	return service + "-" + d.options.ServerName + "-" + node
}

func (d *Directory) check(node string) string { return d.id(node) + "-alive" }

// register makes this node known, or known again.
func (d *Directory) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	d.mu.Lock()
	m := d.self
	d.mu.Unlock()
	return d.client.Agent().ServiceRegisterOpts(&api.AgentServiceRegistration{
		ID: d.id(m.Name), Name: service, Tags: []string{d.options.ServerName},
		Meta: map[string]string{"node": m.Name, "incarnation": m.Incarnation, "version": m.Version, "address": m.Address,
			"weight": strconv.FormatFloat(m.Weight, 'g', -1, 64)},
		Check: &api.AgentServiceCheck{CheckID: d.check(m.Name), Name: "the node says that it lives", TTL: d.options.TTL.String(),
			Status: api.HealthPassing, DeregisterCriticalServiceAfter: "1m"},
	}, api.ServiceRegisterOpts{}.WithContext(ctx))
}

// heartbeat says that this node lives, and registers it again when Consul has forgotten it.
func (d *Directory) heartbeat(ctx context.Context) {
	ticker := time.NewTicker(d.options.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		d.mu.Lock()
		taken, name := d.taken, d.self.Name
		d.mu.Unlock()
		if taken {
			continue
		}
		err := d.beat(ctx, name)
		if refused(err) {
			d.log.Warn("consul has forgotten this node; registering it again", "error", err)
			err = d.register(ctx)
		}
		if err == nil {
			d.heard()
		}
		d.wake() // reachability changes with time
	}
}

func (d *Directory) beat(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return d.client.Agent().UpdateTTLOpts(d.check(name), "", api.HealthPassing, new(api.QueryOptions).WithContext(ctx))
}

// refused reports whether Consul answered, but not with yes.
func refused(err error) bool {
	var status api.StatusError
	return errors.As(err, &status) && status.Code != http.StatusTooManyRequests && status.Code != http.StatusServiceUnavailable
}

// heard notes that Consul answers.
func (d *Directory) heard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers(time.Now())
}

// answers notes that Consul answers now. The caller holds mu.
func (d *Directory) answers(now time.Time) {
	if d.interrupted || !d.answered.IsZero() && now.Sub(d.answered) > d.options.TTL {
		d.recover(now)
	}
	d.answered, d.interrupted = now, false
}

// recover says that Consul was away until now, so that it may not know yet who lives. The caller holds mu.
func (d *Directory) recover(now time.Time) {
	if now.After(d.recovered) {
		d.before = slices.Clone(d.members)
	}
	d.recovered = now.Add(2 * d.options.TTL)
	time.AfterFunc(2*d.options.TTL+time.Millisecond, d.wake)
}

// watch asks for changes, over and over. read gives the index of what it has read.
func (d *Directory) watch(ctx context.Context, what string, read func(context.Context, uint64) (uint64, error)) {
	var index uint64
	pause := firstPause
	for ctx.Err() == nil {
		ask, cancel := context.WithTimeout(ctx, d.options.Wait+d.options.Wait/16+requestTimeout)
		next, err := read(ask, index)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				d.log.Debug("consul could not be asked", "what", what, "error", err)
			}
			d.mu.Lock()
			d.interrupted = true
			d.mu.Unlock()
			sleep(ctx, &pause)
			index = 0
			continue
		}
		pause = firstPause
		if next < index { // Consul has begun anew
			d.mu.Lock()
			d.recover(time.Now())
			d.mu.Unlock()
			next = 0
		}
		index = next
		d.heard()
		d.wake()
	}
}

func (d *Directory) query(ctx context.Context, index uint64) *api.QueryOptions {
	return (&api.QueryOptions{WaitIndex: index, WaitTime: d.options.Wait}).WithContext(ctx)
}

// readMembers reads the nodes that live.
func (d *Directory) readMembers(ctx context.Context, index uint64) (uint64, error) {
	found, meta, err := d.client.Health().ServiceMultipleTags(service, []string{d.options.ServerName}, true, d.query(ctx, index))
	if err != nil {
		return 0, err
	}
	if meta.LastIndex < index {
		return meta.LastIndex, nil // what it says will be read again from the beginning
	}
	var members []cluster.Member
	for _, s := range found {
		meta := s.Service.Meta
		weight, err := strconv.ParseFloat(meta["weight"], 64)
		if meta["node"] == "" || meta["address"] == "" || err != nil {
			d.log.Warn("consul has a service that is no node", "id", s.Service.ID)
			continue
		}
		members = append(members, cluster.Member{Name: meta["node"], Incarnation: meta["incarnation"], Address: meta["address"],
			Version: meta["version"], Weight: weight})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers(time.Now()) // before the members change: those of before the outage are kept
	d.members, d.hasMembers = members, true
	for _, m := range members {
		if m.Name == d.self.Name {
			d.taken = !d.ours[m.Incarnation]
		}
		// Whoever has come back since the outage, and is missing later, is gone.
		d.before = slices.DeleteFunc(d.before, func(b cluster.Member) bool { return b.Name == m.Name })
	}
	return meta.LastIndex, nil
}

// wake has what is known told, if it is new.
func (d *Directory) wake() {
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// tell tells what is known, whenever it is new.
func (d *Directory) tell(ctx context.Context) {
	for {
		select {
		case <-d.news:
		case <-ctx.Done():
			return
		}
		d.mu.Lock()
		o, ok := d.observation()
		is := ok && (d.last.View == nil || !same(d.last, o))
		d.mu.Unlock()
		if !is {
			continue
		}
		d.changed(o)
		d.mu.Lock()
		d.last = o
		close(d.told)
		d.told = make(chan struct{})
		d.mu.Unlock()
	}
}

// observation is what is known now. The caller holds mu.
func (d *Directory) observation() (cluster.Observation, bool) {
	if !d.hasMembers || !d.hasEntries {
		return cluster.Observation{}, false
	}
	now := time.Now()
	members := make([]cluster.Member, 0, len(d.members))
	there := map[string]bool{}
	for _, m := range d.members {
		m.Draining = d.entries.draining[m.Name]
		members = append(members, m)
		there[m.Name] = true
	}
	if now.Before(d.recovered) { // whoever was there before the outage gets the time to register again
		for _, m := range d.before {
			if !there[m.Name] {
				if m.Name == d.self.Name {
					m = d.self // it may have come back under another incarnation meanwhile
				}
				m.Draining = d.entries.draining[m.Name]
				members = append(members, m)
			}
		}
	}
	return cluster.Observation{View: cluster.NewView(members, d.entries.overrides), Reachable: now.Sub(d.answered) <= d.options.TTL}, true
}

func same(a, b cluster.Observation) bool {
	return a.Reachable == b.Reachable && a.View.Equal(b.View)
}

// The pauses after failures.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
)

// sleep waits for a random part of the pause, which is doubled for the next time.
func sleep(ctx context.Context, pause *time.Duration) {
	timer := time.NewTimer(jitter(*pause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	*pause = min(2**pause, lastPause)
}

// retry repeats f until it succeeds or the context ends.
func retry(ctx context.Context, f func(context.Context) error) error {
	pause := firstPause
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		sleep(ctx, &pause)
		if ctx.Err() != nil {
			return err
		}
	}
}
