// Package push tells people of notifications who are not there (client-server API, "Push Notifications"; Push Gateway API).
//
// A room leaves a task with every commit that brings events or moves receipts. The dispatcher turns tasks into items, one for each
// pusher that is to be told of an event, in one commit with the deletion of the task; tasks are spread over shards by their room,
// each of which one node does, fenced as the journal of an actor is. An item waits for the push actor of its user, which delivers
// the items of each pusher in order, and deletes each when the push gateway has taken it.
//
// So what was committed is pushed, whatever dies meanwhile. A push is repeated if the node dies between the gateway's answer and
// the deletion; gateways tell by the event's id. What waits for a pusher is bounded: the oldest items go first, and after a day.
package push

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/unread"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/persistence"
)

// Gateways speaks with push gateways.
type Gateways interface {
	// Notify posts a notification (Push Gateway API, "POST /_matrix/push/v1/notify") and gives the push keys that the gateway
	// rejects. An error means that it is to be tried again.
	Notify(ctx context.Context, url string, body []byte) (rejected []string, err error)
}

// Digest is the message about what a user has missed.
type Digest struct {
	UserID string
	Rooms  []DigestRoom
}

// DigestRoom is what was missed in one room.
type DigestRoom struct {
	ID     string
	Name   string // empty: it has none
	Invite bool   // the user is invited to it
	Lines  []DigestLine
	More   int // events that are not in Lines
}

// DigestLine is one event.
type DigestLine struct {
	Sender    string
	Text      string // empty: it cannot be said, as with what is encrypted
	Time      time.Time
	Highlight bool
}

// Deps are what the dispatcher and push actors need.
type Deps struct {
	Store      persistence.Store
	Reader     *reader.Reader
	Unread     *unread.Counter
	Caller     cluster.Caller
	Gateways   Gateways
	Mail       func(ctx context.Context, to string, d Digest) error // sends a Digest; nil: no email is sent
	ServerName string
	Now        func() time.Time
	Log        *slog.Logger
	Metrics    *Metrics
}

// The bounds of what waits for one pusher. Beyond them the oldest items are given up: who has missed that many notifications
// will look by themselves.
const (
	queueBound = 100
	giveUp     = 24 * time.Hour
)

// Metrics count pushes by what became of them.
type Metrics struct{ deliveries *prometheus.CounterVec }

// What becomes of pushes.
const (
	delivered = "delivered"
	failed    = "failed"   // it is tried again
	rejected  = "rejected" // by the gateway, for ever
	given     = "given_up"
)

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "matrixon", Subsystem: "push", Name: "deliveries_total",
		Help: "Attempts to push a notification, by what became of them."}, []string{"result"})}
	for _, result := range []string{delivered, failed, rejected, given} {
		m.deliveries.WithLabelValues(result)
	}
	return m, r.Register(m.deliveries)
}

func (m *Metrics) count(result string) {
	if m != nil {
		m.deliveries.WithLabelValues(result).Inc()
	}
}
