package admin

import (
	"net/http"
	"strconv"
	"time"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Actor is an actor as a list shows it.
type Actor struct {
	Kind        string  `json:"kind"`
	ID          string  `json:"id"`
	State       string  `json:"state"` // activating, active or stopping
	ActivatedTS int64   `json:"activated_ts"`
	Handled     uint64  `json:"messages_handled"`
	Mailbox     int     `json:"mailbox_depth"`
	Rate        float64 `json:"rate"` // messages per second, smoothed over half a minute
	Load        float64 `json:"load"` // share of a processor that its mailbox keeps busy
	LastMessage string  `json:"last_message,omitempty"`
	LastError   string  `json:"last_error,omitempty"`
}

// Status is how a node is.
type Status struct {
	Node     string         `json:"node"`
	Version  string         `json:"version"`
	UptimeMS int64          `json:"uptime_ms"`
	Position uint64         `json:"position"` // of the newest durable commit
	Actors   map[string]int `json:"actors"`   // active ones, by kind
}

// orders are the ways to sort a list of actors.
var orders = map[string]func(a, b cluster.Info) int{
	"mailbox": cluster.ByDepth, "load": cluster.ByLoad, "messages": cluster.ByHandled, "recent": cluster.ByLastAt,
}

// The number of actors in a list: when nothing is said, and at most.
const (
	listed     = 50
	listedMost = 10_000
)

func (h handler) listActors(r *http.Request) (any, error) {
	q := r.URL.Query()
	f := cluster.Filter{Kind: q.Get("kind"), Limit: listed, Order: cluster.ByLoad}
	if sort := q.Get("sort"); sort != "" {
		order, ok := orders[sort]
		if !ok {
			return nil, mxerr.InvalidParam("actors can be sorted by mailbox, load, messages or recent, not by %q", sort)
		}
		f.Order = order
	}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > listedMost {
			return nil, mxerr.InvalidParam("limit must be from 1 to %d", listedMost)
		}
		f.Limit = n
	}
	actors := []Actor{}
	for _, i := range h.Node.Actors(f) {
		actors = append(actors, Actor{Kind: i.Kind, ID: i.ID, State: i.State, ActivatedTS: i.ActivatedAt.UnixMilli(), Handled: i.Handled,
			Mailbox: i.Depth, Rate: i.Rate, Load: i.Load(), LastMessage: i.LastMessage, LastError: i.LastError})
	}
	return map[string]any{"actors": actors}, nil
}

func identity(r *http.Request) cluster.Identity {
	return cluster.Identity{Kind: r.PathValue("kind"), ID: r.PathValue("id")}
}

func (h handler) inspect(r *http.Request) (any, error) {
	return h.Node.Inspect(r.Context(), identity(r))
}

// stopActor puts an actor to rest; the next message to it wakes it again.
func (h handler) stopActor(r *http.Request) (any, error) {
	if _, err := h.Node.Inspect(r.Context(), identity(r)); err != nil {
		return nil, err
	}
	return map[string]any{}, h.Node.Deactivate(r.Context(), identity(r))
}

func (h handler) status(*http.Request) (any, error) {
	s := Status{Node: h.Node.Name(), Version: h.Version, UptimeMS: time.Since(h.Started).Milliseconds(),
		Position: uint64(h.Position()), Actors: map[string]int{cluster.KindRoom: 0, cluster.KindUser: 0}}
	for _, i := range h.Node.Actors(cluster.Filter{}) {
		s.Actors[i.Kind]++
	}
	return map[string]any{"nodes": []Status{s}}, nil
}
