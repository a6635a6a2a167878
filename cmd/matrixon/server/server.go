// Package server puts a node together: store, actors, endpoints and listeners. It is what the command line runs, and what
// tests start.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	sender "github.com/matrixon/matrixon/actors/delayed"
	"github.com/matrixon/matrixon/actors/destination"
	"github.com/matrixon/matrixon/actors/federation/devicelists"
	"github.com/matrixon/matrixon/actors/federation/entry"
	"github.com/matrixon/matrixon/actors/federation/history"
	"github.com/matrixon/matrixon/actors/federation/inquiry"
	"github.com/matrixon/matrixon/actors/federation/keyring"
	"github.com/matrixon/matrixon/actors/federation/policy"
	"github.com/matrixon/matrixon/actors/federation/verify"
	"github.com/matrixon/matrixon/actors/hub"
	"github.com/matrixon/matrixon/actors/node"
	"github.com/matrixon/matrixon/actors/push"
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/room"
	"github.com/matrixon/matrixon/actors/search"
	"github.com/matrixon/matrixon/actors/sliding"
	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/actors/unread"
	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/actors/user/dehydrated"
	"github.com/matrixon/matrixon/actors/user/delayed"
	"github.com/matrixon/matrixon/actors/user/keys"
	usermedia "github.com/matrixon/matrixon/actors/user/media"
	"github.com/matrixon/matrixon/actors/user/signin"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/address"
	"github.com/matrixon/matrixon/http/api/password"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/http/media"
	"github.com/matrixon/matrixon/http/oauth"
	"github.com/matrixon/matrixon/http/outbound"
	"github.com/matrixon/matrixon/http/outbound/mail"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/matrix/verdict"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// How actors are kept. A room or user that is busy beyond its bound answers 429 M_LIMIT_EXCEEDED.
const (
	roomBound, roomIdle = 4096, 5 * time.Minute
	userBound, userIdle = 1024, 2 * time.Minute
)

// How long a node believes a session without looking at the store again. A single node is told of every end of a session
// itself; in a cluster a logout holds everywhere within a second.
const (
	sessionMemoryAlone   = 5 * time.Minute
	sessionMemoryCluster = 800 * time.Millisecond
)

// Server is a running node.
type Server struct {
	config     *config.Config                // with which it started
	live       atomic.Pointer[config.Config] // what Reload has made of it; only its live keys mean anything
	version    string
	started    time.Time
	log        *slog.Logger
	store      persistence.Store
	lock       *os.File // of data_dir
	key        signing.Key
	node       *cluster.Node
	rebalancer *node.Rebalancer
	// membership is the node's part in a cluster, nil when it is alone.
	membership  *cluster.Membership
	hub         *hub.Hub
	reader      *reader.Reader
	unread      *unread.Counter
	searcher    persistence.Searcher
	search      *search.Index
	syncer      *syncer.Syncer
	sliding     *sliding.Syncer
	delayed     *sender.Sender
	pushes      *push.Dispatcher
	mailer      *mail.Mailer       // nil when the server sends no email
	addresses   *address.Validator // nil when the server sends no email
	hasher      *password.Hasher
	limits      limits
	tokens      *api.Tokens
	seen        *api.LastSeen
	metrics     *prometheus.Registry
	media       *media.Repository
	federation  *outbound.Federation // nil when the server does not federate
	keys        *keyring.Ring        // likewise
	notify      func(ctx context.Context, userID, text string) (eventID string, err error)
	rotating    sync.Mutex         // held while the signing key is replaced
	deviceLists *devicelists.Lists // likewise
	inquirer    *inquiry.Inquirer  // likewise
	origin      *media.Origin      // likewise
	verifier    *verify.Verifier   // likewise
	policies    *policy.Servers    // likewise
	vouching    *policy.Own        // nil when the server is no policy server
	policyRules atomic.Pointer[verdict.Rules]
	handshakes  *entry.Handshakes // likewise
	history     *history.History  // likewise
	appservices appservices
	oauth       *oauth.Server // nil when apps are not let in with OAuth 2.0
	// endRendezvous ends what runs beside the rendezvous sessions; nil when there are none.
	endRendezvous func()
	dispatcher    *destination.Dispatcher // nil without federation

	api      *api.API
	listener *api.Server
	socket   *http.Server
	stop     context.CancelFunc // of the background work
	stopped  chan struct{}
	failed   chan error // why the node cannot go on

	stopTracing   func(context.Context) error
	reloading     sync.Mutex
	stopBalancing context.CancelFunc // of the automatic rebalancing, nil when it is off
}

// Options are what the command line says beyond the configuration.
type Options struct {
	Version string
	Log     *slog.Logger
	// AcceptLoss starts the server even when acknowledged data is damaged; what is lost is logged.
	AcceptLoss bool
}

// Open opens the store and starts the actors. Listen and Serve then let requests in; Close ends everything.
func Open(c *config.Config, o Options) (*Server, error) {
	s := &Server{config: c, version: o.Version, started: time.Now(), log: o.Log, metrics: prometheus.NewRegistry(), stopped: make(chan struct{}), failed: make(chan error, 1)}
	s.live.Store(c)
	set, err := c.Registrations()
	if err != nil {
		return nil, err
	}
	s.appservices.set.Store(set)
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	if s.store, err = s.openStore(o.AcceptLoss); err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// start builds everything on top of the store.
func (s *Server) start() error {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	if err := s.claimName(ctx); err != nil {
		return err
	}
	var err error
	if s.stopTracing, err = s.startTracing(ctx); err != nil {
		return err
	}
	if err = s.registrationTokens(ctx, s.config.Registration); err != nil {
		return err
	}
	if s.key, err = s.signingKey(ctx); err != nil {
		return err
	}
	if s.hasher, err = password.New(password.Parameters{MemoryKiB: s.config.PasswordHash.MemoryKiB,
		Iterations: s.config.PasswordHash.Iterations, Parallelism: s.config.PasswordHash.Parallelism}); err != nil {
		return err
	}
	s.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := s.startFederation(); err != nil {
		return err
	}
	if err := s.startEmail(); err != nil {
		return err
	}
	if err := s.startActors(); err != nil {
		return err
	}
	s.startHandshakes()
	if err := s.startMedia(ctx); err != nil {
		return err
	}
	if err := s.buildAPI(ctx); err != nil {
		return err
	}
	s.clusterMetrics()
	go s.background(ctx)
	if err := s.join(ctx); err != nil {
		return err
	}
	s.balanceByItself()
	return nil
}

func (s *Server) startActors() error {
	name, err := s.nodeName()
	if err != nil {
		return err
	}
	s.node = cluster.NewNode(cluster.Options{Name: name, Logger: s.log})
	s.metrics.MustRegister(s.node.Metrics())
	s.limits.node = s.node
	s.limits.set(s.config)
	s.hub = hub.New(s.node)
	if s.federation != nil {
		s.dispatcher = destination.NewDispatcher(destination.DispatcherOptions{Store: s.store, Caller: s.node, Mine: s.mine, ServerName: s.config.ServerName, Log: s.log})
	}
	s.reader = reader.New(s.store, time.Now, s.notices().UserID)
	s.unread = unread.New(s.store, s.notices().UserID)
	s.search = search.New(s.store, s.searcher, func() bool { return s.node.Owner(indexer) == s.node.Name() }, s.log)
	s.syncer = syncer.New(s.node, s.reader, s.unread, s.config.Presence.Enabled, time.Now)
	s.sliding = sliding.New(s.node, s.reader, s.syncer, s.unread, time.Now)
	services := s.startAppservices()
	pushers, err := s.startPush()
	if err != nil {
		return err
	}
	s.store.Follow(s.told)
	roomDeps := room.Deps{Store: s.recorder(), Typing: s.tellTyping, ServerName: s.config.ServerName, Key: s.key, Now: time.Now}
	if s.federation != nil {
		if err := s.startPolicyServer(); err != nil {
			return err
		}
		s.policies = &policy.Servers{Caller: s.federation, Reader: s.reader, Own: s.vouching, Rooms: s.node, Log: s.log}
		roomDeps.Approve = s.policies.Approve
		if s.vouching != nil {
			roomDeps.Vouch = s.policies.Answer
		}
	}
	if s.alone() {
		roomDeps.Pushing = s.pushes // which, in a cluster, hears of another node's pushers a little later than they are acknowledged
	}
	rooms := cluster.Kind{Name: cluster.KindRoom, Bound: roomBound, IdleAfter: roomIdle, New: room.New(roomDeps)}
	accounts := account.Options{Deactivated: []account.Removal{delayed.Drop}}
	handlers := slices.Concat(account.Handlers(accounts), keys.Handlers(), dehydrated.Handlers(accounts), usermedia.Handlers(),
		delayed.Handlers(), signin.Handlers(accounts), appserviceHandlers)
	users := cluster.Kind{Name: cluster.KindUser, Bound: userBound, IdleAfter: userIdle, New: user.New(user.Deps{
		Store: s.recorder(), Hub: s.hub, Now: time.Now, Log: s.log, Presence: s.config.Presence.Enabled, Federates: s.federation != nil}, handlers...)}
	if s.rebalancer, err = node.NewRebalancer(s.node, s.log, s.metrics); err != nil {
		return err
	}
	return errors.Join(s.node.Register(rooms), s.node.Register(users), s.node.Register(services), s.node.Register(pushers), s.startDestinations(),
		s.node.Register(s.nodeKind()))
}

// claimName makes sure that the data belongs to the server's name: ids and signatures in it hold that name.
func (s *Server) claimName(ctx context.Context) error {
	const name = "server_name"
	row, ok, err := schema.Settings.Get(ctx, s.store, schema.Setting{Name: name})
	if err != nil {
		return err
	}
	if ok {
		if row.Value != s.config.ServerName {
			return fmt.Errorf("server_name: the data in %s belongs to %s, not to %s; a server cannot be renamed", s.config.DataDir, row.Value, s.config.ServerName)
		}
		return nil
	}
	fact := schema.Settings.Put(schema.Setting{Name: name, Value: s.config.ServerName})
	_, err = persistence.Await(ctx, s.store, &persistence.Commit{Write: []persistence.Mutation{fact}, Absent: []persistence.Mutation{fact}})
	if errors.Is(err, persistence.ErrExists) { // another node was quicker
		return s.claimName(ctx)
	}
	return err
}

// registrationTokens makes the configured tokens good, and those that no longer stand in the configuration void.
func (s *Server) registrationTokens(ctx context.Context, c config.Registration) error {
	configured := map[string]bool{}
	var writes []persistence.Mutation
	for _, token := range c.Tokens {
		configured[token.Reveal()] = true
		writes = append(writes, schema.RegistrationTokens.Put(schema.RegistrationToken{Token: token.Reveal(), UsesAllowed: -1, Configured: true}))
	}
	for row, err := range schema.RegistrationTokens.Scan(ctx, s.store, persistence.Range[schema.RegistrationToken]{}) {
		if err != nil {
			return err
		}
		if row.Configured && !configured[row.Token] {
			writes = append(writes, schema.RegistrationTokens.Delete(row))
		}
	}
	if len(writes) == 0 {
		return nil
	}
	_, err := persistence.Await(ctx, s.store, &persistence.Commit{Write: writes})
	return err
}

// The pace of the background work.
const (
	flushSightings = time.Second
	flushedAtOnce  = 500 // devices; each that is used is written every ten minutes, so that this is enough for 300,000
	sweepExpired   = 10 * time.Minute
	sweepOld       = 24 * time.Hour // what is looked through as a whole
)

// sweeper is a name for the work that one node of the cluster does for all.
var sweeper = cluster.Identity{Kind: "job", ID: "sweep"}

// indexer is a name for the work on the search index, which one node of the cluster does.
var indexer = cluster.Identity{Kind: "job", ID: "search"}

// mender is a name for the work on events that wait for others and were left behind by nodes that have ended.
var mender = cluster.Identity{Kind: "job", ID: "mend"}

// delayer is a name for the work on events that were scheduled, which one node of the cluster does.
var delayer = cluster.Identity{Kind: "job", ID: "delayed"}

// background writes down when devices were used, and deletes what has expired.
func (s *Server) background(ctx context.Context) {
	defer close(s.stopped)
	var running sync.WaitGroup
	if s.deviceLists != nil {
		running.Go(func() { s.deviceLists.Run(ctx) })
	}
	running.Go(func() { s.search.Run(ctx) })
	running.Go(func() { s.tendMedia(ctx) })
	running.Go(func() { s.delayed.Run(ctx, func() bool { return s.node.Owner(delayer) == s.node.Name() }) })
	running.Go(func() { s.tendAppservices(ctx) })
	running.Go(func() { s.tendDestinations(ctx) })
	running.Go(func() { s.pushes.Run(ctx) })
	if s.history != nil {
		running.Go(func() { s.history.Run(ctx) })
		running.Go(func() { s.history.RunWhole(ctx) })
	}
	defer running.Wait()
	flush, sweep := time.NewTicker(flushSightings), time.NewTicker(sweepExpired)
	defer flush.Stop()
	defer sweep.Stop()
	if err := client.FinishDeactivations(ctx, s.deps()); err != nil && ctx.Err() == nil {
		s.log.Error("deactivated users are still in rooms", "error", err)
	}
	if err := client.ListUsers(ctx, s.deps(), s.store); err != nil && ctx.Err() == nil {
		s.log.Error("the user directory could not be made; it is tried again at the next start", "error", err)
	}
	var sweptOld time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-flush.C:
			s.seen.Flush(ctx, flushedAtOnce)
		case <-sweep.C:
			if err := s.warnOfOldKey(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("it could not be looked up which key signs", "error", err)
			}
			if s.node.Owner(sweeper) != s.node.Name() {
				continue
			}
			if err := errors.Join(account.Sweep(ctx, s.store, time.Now(), authLifetime), address.Sweep(ctx, s.store, time.Now()),
				oauth.Sweep(ctx, s.store, time.Now())); err != nil && ctx.Err() == nil {
				s.log.Error("expired rows could not be deleted", "error", err)
			}
			if time.Since(sweptOld) < sweepOld {
				continue
			}
			sweptOld = time.Now()
			if err := account.SweepTransactions(ctx, s.store, sweptOld); err != nil && ctx.Err() == nil {
				s.log.Error("old transactions could not be deleted", "error", err)
			}
		}
	}
}

// Listen opens the listeners and says where.
func (s *Server) Listen() error {
	var listeners []api.Listener
	for _, l := range s.config.Listeners {
		open := api.Listener{Address: l.Address}
		for _, part := range l.Serves {
			open.Serves = append(open.Serves, api.Part(part))
		}
		open.Certificate, open.Key = l.TLS.Certificate, l.TLS.Key
		listeners = append(listeners, open)
	}
	var err error
	if s.listener, err = api.Listen(s.api, listeners...); err != nil {
		return err
	}
	if err := s.ListenSocket(); err != nil {
		return err
	}
	for i, addr := range s.listener.Addresses() {
		scheme := "http"
		if s.config.Listeners[i].TLS.Certificate != "" {
			scheme = "https"
		}
		s.log.Info("listening", "address", scheme+"://"+addr.String(), "serves", s.config.Listeners[i].Serves)
	}
	return nil
}

// Failed tells when the node cannot go on.
func (s *Server) Failed() <-chan error { return s.failed }

// Addresses are those listened on, in the order of the configuration.
func (s *Server) Addresses() []net.Addr { return s.listener.Addresses() }

// Serve serves until Close, or until a listener fails.
func (s *Server) Serve() error { return s.listener.Serve() }

// Close stops taking requests, finishes those begun as far as the shutdown timeout allows, puts the actors to rest and closes the store.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(s.config.ShutdownTimeout))
	defer cancel()
	if s.stopBalancing != nil {
		s.stopBalancing()
	}
	errs := []error{s.leave(ctx)}
	if s.listener != nil {
		errs = append(errs, s.listener.Shutdown(ctx))
	}
	errs = append(errs, s.closeSocket(ctx))
	if s.history != nil {
		s.history.Close()
	}
	if s.seen != nil {
		s.seen.Flush(ctx, api.All)
	}
	if s.media != nil {
		s.flushMedia(ctx)
		s.media.Close()
	}
	if s.membership != nil {
		errs = append(errs, s.membership.Leave(ctx))
	}
	if s.node != nil {
		errs = append(errs, s.node.Stop(ctx))
	}
	if s.federation != nil {
		s.federation.Close()
	}
	if s.stop != nil {
		s.stop()
		if s.api != nil {
			<-s.stopped
		}
	}
	if s.appservices.link != nil {
		s.appservices.link.Close()
	}
	if s.oauth != nil {
		s.oauth.Close()
	}
	if s.endRendezvous != nil {
		s.endRendezvous()
	}
	if s.stopTracing != nil {
		errs = append(errs, s.stopTracing(ctx))
	}
	errs = append(errs, s.searcher.Close(), s.store.Close())
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
