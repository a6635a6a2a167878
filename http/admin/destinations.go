package admin

import (
	"context"
	"log/slog"
	"time"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Destination is another server, and how sending to it goes.
type Destination struct {
	Destination    string `json:"destination"` // its server name
	Circuit        string `json:"circuit"`     // closed, open (left alone after failures), half-open (to be tried again) or paused
	Failures       int64  `json:"failures"`    // in a row
	FailingSinceTS int64  `json:"failing_since_ts,omitzero"`
	RetryTS        int64  `json:"retry_ts,omitzero"`
	LastSuccessTS  int64  `json:"last_success_ts,omitzero"`
	LastError      string `json:"last_error,omitzero"`
}

// Destinations is a page of servers, by name.
type Destinations struct {
	Destinations []Destination `json:"destinations"`
	Next         string        `json:"next,omitzero"`
}

// DestinationQueue is a server with what waits for it, as its actor knows it.
type DestinationQueue struct {
	Destination
	TxnID           string `json:"txn_id,omitzero"` // of the transaction in hand
	TxnPDUs         int64  `json:"txn_pdus"`
	TxnEDUs         int64  `json:"txn_edus"`
	QueuedEvents    int64  `json:"queued_events"`
	QueuedEDUs      int64  `json:"queued_edus"`
	QueuedEphemeral int64  `json:"queued_ephemeral"` // typing, receipts and presence
	MissedRooms     int64  `json:"missed_rooms"`     // of which the newest event is sent, because more waited than is kept
	SentPos         uint64 `json:"sent_position"`
	More            bool   `json:"more"` // the counts are not complete
}

// Destinations lists the servers that were sent something.
func (o Operator) Destinations(ctx context.Context, p Page) (Destinations, error) {
	answer := Destinations{Destinations: []Destination{}}
	rows, next, err := collect(ctx, o.Store, schema.Destinations, persistence.Range[schema.Destination]{}, p, false,
		func(name string) schema.Destination { return schema.Destination{Destination: name} },
		func(d schema.Destination) (string, bool) { return d.Destination, p.matches(d.Destination, d.LastError) })
	for _, d := range rows {
		answer.Destinations = append(answer.Destinations, Destination{Destination: d.Destination, Circuit: circuit(d, time.Now()), Failures: d.Failures,
			FailingSinceTS: d.FailingSinceTS, RetryTS: d.RetryTS, LastSuccessTS: d.LastSuccessTS, LastError: d.LastError})
	}
	answer.Next = next
	return answer, err
}

func circuit(d schema.Destination, now time.Time) string {
	switch {
	case d.Paused:
		return "paused"
	case d.Failures == 0:
		return "closed"
	case d.RetryTS > now.UnixMilli():
		return "open"
	}
	return "half-open"
}

// Destination tells of one server.
func (o Operator) Destination(ctx context.Context, name string) (DestinationQueue, error) {
	return o.askDestination(ctx, name, messages.OperateDestination_DESCRIBE)
}

// destinationActions are what can be done with a server, by the word in the path.
var destinationActions = map[string]struct {
	action messages.OperateDestination_Action
	note   string
}{
	"retry": {messages.OperateDestination_RETRY, "another server is sent what waits for it now"},
	"pause": {messages.OperateDestination_PAUSE, "another server is sent nothing for now"},
	"reset": {messages.OperateDestination_RESET, "what another server is sent is put together anew"},
}

// OperateDestination has a server tried now (retry), left alone until then (pause), or its failures forgotten and its transaction made anew
// (reset). Nothing that waits is lost by any of them.
func (o Operator) OperateDestination(ctx context.Context, by By, name, what string) (DestinationQueue, error) {
	do, ok := destinationActions[what]
	if !ok {
		return DestinationQueue{}, mxerr.InvalidParam("%.64q is none of retry, pause and reset", what)
	}
	d, err := o.askDestination(ctx, name, do.action)
	o.note(ctx, by, do.note, err, slog.String("destination", name))
	return d, err
}

func (o Operator) askDestination(ctx context.Context, name string, action messages.OperateDestination_Action) (DestinationQueue, error) {
	switch {
	case !o.Federates:
		return DestinationQueue{}, mxerr.NotFound("this server talks with no others")
	case !id.ValidServerName(name) || name == o.ServerName:
		return DestinationQueue{}, mxerr.InvalidParam("%.300q is no name of another server", name)
	}
	s, err := cluster.Ask[*messages.DestinationStatus](ctx, o.Node, cluster.Identity{Kind: cluster.KindDestination, ID: name}, &messages.OperateDestination{Action: action})
	if err != nil {
		return DestinationQueue{}, err
	}
	return DestinationQueue{Destination: Destination{Destination: s.Destination, Circuit: s.Circuit, Failures: s.Failures, FailingSinceTS: s.FailingSinceTs,
		RetryTS: s.RetryTs, LastSuccessTS: s.LastSuccessTs, LastError: s.LastError},
		TxnID: s.TxnId, TxnPDUs: s.TxnPdus, TxnEDUs: s.TxnEdus, QueuedEvents: s.QueuedEvents, QueuedEDUs: s.QueuedEdus, QueuedEphemeral: s.QueuedEphemeral,
		MissedRooms: s.MissedRooms, SentPos: s.SentPos, More: s.More}, nil
}

func (h handler) listDestinations(r *api.Request) (any, error) {
	p, err := paged(r)
	if err != nil {
		return nil, err
	}
	return h.Operator.Destinations(r.Ctx, p)
}

func (h handler) getDestination(r *api.Request) (any, error) {
	return h.Destination(r.Ctx, r.Vars["destination"])
}

// operateDestination is the handler of one of destinationActions.
func (h handler) operateDestination(what string) api.Handler {
	return func(r *api.Request) (any, error) {
		return h.OperateDestination(r.Ctx, By(r.User()), r.Vars["destination"], what)
	}
}
