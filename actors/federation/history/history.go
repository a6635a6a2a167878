// Package history fetches what this server lacks of a room's graph: the events between what it has and an event that came
// (server-server API, "Backfilling and retrieving missing events"), the state before an event whose predecessors cannot be had, and older
// history for those who scroll back. It works beside the rooms' actors, which decide what becomes of what it brings.
package history

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/actors/federation/policy"
	"github.com/matrixon/matrixon/actors/federation/verify"
	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/cache"
)

// Deps are what the work needs.
type Deps struct {
	ServerName string
	Store      persistence.Store
	Reader     *reader.Reader
	Rooms      cluster.Caller
	Servers    federation.Caller
	Verifier   *verify.Verifier
	Policy     *policy.Servers
	// Leads reports whether this node takes up what was left behind by nodes that have ended.
	Leads func() bool
	// Mine reports whether the room's actor should live on this node, which then fetches the room's members.
	Mine func(roomID string) bool
	// Folder is where states are kept while they are read, which may be too large for memory; empty: where the system keeps such things.
	Folder string
	Now    func() time.Time
	Log    *slog.Logger
}

// The bounds of the work.
const (
	// roomsAtOnce is how many rooms this node mends at a time; roomPatience how long it takes for one before others have their turn.
	roomsAtOnce  = 16
	roomPatience = 10 * time.Minute
	// roomsOfOne is how many of these rooms one server is asked about at a time, and serverPatience for how long about one event.
	roomsOfOne     = 12
	serverPatience = 3 * time.Minute
	// mostServers is how many servers are asked for the same, one after another.
	mostServers = 4
)

// History does the work of one node. It is safe for concurrent use.
type History struct {
	d       Deps
	turns   chan struct{} // one for each room that is being mended
	pages   singleflight.Group
	failed  *cache.Cache[string, *mxerr.Error] // why the last page of a room could not be fetched
	mu      sync.Mutex
	busy    map[string]bool // rooms; true: something came while the room was being mended
	helping map[string]int  // servers: how many rooms they are being asked about
	// completing are the rooms whose members are being fetched, or wait for that.
	completing map[string]bool
	wholeTurns chan struct{}
	ended      bool
	running    sync.WaitGroup
	ctx        context.Context
	stop       context.CancelFunc
}

// New makes the history of a node. Close ends it.
func New(d Deps) *History {
	h := &History{d: d, turns: make(chan struct{}, roomsAtOnce), busy: map[string]bool{}, helping: map[string]int{},
		failed:     cache.New(cache.Options[string, *mxerr.Error]{Size: 10_000, Written: pageRests}),
		completing: map[string]bool{}, wholeTurns: make(chan struct{}, wholeAtOnce)}
	h.ctx, h.stop = context.WithCancel(context.Background())
	return h
}

// Close ends the work and waits for it. What is staged is taken up at the next start.
func (h *History) Close() {
	h.mu.Lock()
	h.ended = true
	h.mu.Unlock()
	h.stop()
	h.running.Wait()
	h.failed.Close()
}

// room is a room whose version is known.
type room struct {
	id      string
	version *roomversion.Version
}

func (h *History) room(ctx context.Context, roomID string) (room, error) {
	version, err := h.d.Reader.Version(ctx, roomID)
	return room{roomID, version}, err
}

// servers are those to ask about a room, best first.
func (h *History) servers(ctx context.Context, roomID string, best ...string) ([]string, error) {
	all, err := h.d.Reader.Servers(ctx, roomID)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{h.d.ServerName: true, "": true}
	var servers []string
	for _, s := range append(best, all...) {
		if !seen[s] && len(servers) < mostServers {
			seen[s] = true
			servers = append(servers, s)
		}
	}
	return servers, nil
}

func ask[A proto.Message](ctx context.Context, h *History, roomID string, m proto.Message) (A, error) {
	return cluster.Ask[A](ctx, h.d.Rooms, cluster.Identity{Kind: cluster.KindRoom, ID: roomID}, m)
}
