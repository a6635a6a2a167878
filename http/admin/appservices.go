package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/appservice"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Appservice is an application service: what it is registered with, but for its tokens, and how far it has been sent what concerns it.
type Appservice struct {
	ID          string      `json:"id"`
	UserID      string      `json:"user_id"`      // its own
	URL         string      `json:"url,omitzero"` // absent: it wants no traffic
	Users       []Namespace `json:"users"`
	Aliases     []Namespace `json:"aliases"`
	Rooms       []Namespace `json:"rooms"`
	Protocols   []string    `json:"protocols"`
	RateLimited bool        `json:"rate_limited"`
	Ephemeral   bool        `json:"ephemeral"`
	Encryption  bool        `json:"encryption"`

	Node           string `json:"node,omitzero"`        // where its actor is active
	State          string `json:"state"`                // no traffic, at rest, unknown, or as its actor says
	Behind         uint64 `json:"behind,omitzero"`      // commits since the last that was looked at; absent: none, or its actor is not active
	Unacknowledged uint64 `json:"unacknowledged_bytes"` // of the transaction that it has not taken yet
	Events         uint64 `json:"events"`               // that it has taken
	AcknowledgedTS int64  `json:"acknowledged_ts,omitzero"`
	Failures       uint64 `json:"failures"` // attempts in a row that have failed
	LastFailure    string `json:"last_failure,omitzero"`
	NextAttemptTS  int64  `json:"next_attempt_ts,omitzero"`
}

// Namespace is a set of ids.
type Namespace struct {
	Regex     string `json:"regex"`
	Exclusive bool   `json:"exclusive"`
}

// Appservices are all that are registered, in the order of the configuration.
type Appservices struct {
	Appservices []Appservice `json:"appservices"`
}

// appservicesAtOnce bounds how many actors of application services are asked at once.
const appservicesAtOnce = 8

// Appservices tells of all application services.
func (o Operator) Appservices(ctx context.Context) (Appservices, error) {
	all := o.registered().All()
	answer := Appservices{Appservices: make([]Appservice, len(all))}
	errs := make([]error, len(all))
	slots := semaphore.NewWeighted(appservicesAtOnce)
	var asking sync.WaitGroup
	for i, r := range all {
		if err := slots.Acquire(ctx, 1); err != nil {
			errs[i] = err
			break
		}
		asking.Go(func() {
			defer slots.Release(1)
			answer.Appservices[i], errs[i] = o.describeAppservice(ctx, r)
		})
	}
	asking.Wait()
	return answer, errors.Join(errs...)
}

// Appservice tells of one; 404 M_NOT_FOUND when it is not registered.
func (o Operator) Appservice(ctx context.Context, id string) (Appservice, error) {
	r := o.registered().ByID(id)
	if r == nil {
		return Appservice{}, unregistered(id)
	}
	return o.describeAppservice(ctx, r)
}

// RetryAppservice has what waits for an application service sent now, however long it would wait after a failure.
func (o Operator) RetryAppservice(ctx context.Context, by By, id string) error {
	r := o.registered().ByID(id)
	switch {
	case r == nil:
		return unregistered(id)
	case r.URL == "":
		return mxerr.InvalidParam("the application service %.300q wants no traffic: its registration has no URL", id)
	}
	_, err := o.Node.Ask(ctx, cluster.Identity{Kind: cluster.KindAppservice, ID: id}, &messages.WakeAppservice{Retry: true})
	o.note(ctx, by, "an application service is tried again", err, slog.String("appservice", id))
	return err
}

func unregistered(id string) error {
	return mxerr.NotFound("no application service %.300q is registered", id)
}

// registered are the application services as this node has them.
func (o Operator) registered() *appservice.Set {
	if o.Registrations == nil {
		return nil
	}
	return o.Registrations()
}

func (o Operator) describeAppservice(ctx context.Context, r *appservice.Registration) (Appservice, error) {
	a := Appservice{ID: r.ID, UserID: r.UserID(), Users: namespaces(r.Users), Aliases: namespaces(r.Aliases), Rooms: namespaces(r.Rooms), Protocols: r.Protocols,
		RateLimited: r.RateLimited, Ephemeral: r.Ephemeral, Encryption: r.Encryption}
	if a.Protocols == nil {
		a.Protocols = []string{}
	}
	if r.URL == "" {
		a.State = "no traffic"
		return a, nil
	}
	if at, err := url.Parse(r.URL); err == nil {
		a.URL = at.Redacted()
	}
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	summary, err := o.Actor(ctx, cluster.Identity{Kind: cluster.KindAppservice, ID: r.ID})
	if err == nil {
		a.tells(summary)
		return a, nil
	}
	a.State = "unknown: " + err.Error()
	if refused := new(mxerr.Error); errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		a.State = "at rest"
	}
	q, _, err := schema.AppserviceQueues.Get(context.WithoutCancel(ctx), o.Store, schema.AppserviceQueue{ID: r.ID})
	a.Unacknowledged, a.Events, a.AcknowledgedTS = uint64(len(q.Body)), q.Events, q.SentTS
	return a, err
}

// tells takes over what the actor says of itself.
func (a *Appservice) tells(s Summary) {
	number := func(name string) uint64 {
		n, _ := strconv.ParseUint(s.Details[name], 10, 64) // absent: 0
		return n
	}
	a.Node, a.State, a.LastFailure = s.Node, s.Details["state"], s.Details["last_failure"]
	a.Behind, a.Unacknowledged, a.Events, a.Failures = number("behind"), number("unacknowledged_bytes"), number("events"), number("failures")
	a.AcknowledgedTS, a.NextAttemptTS = int64(number("acknowledged_ts")), int64(number("next_attempt_ts"))
}

func namespaces(all []appservice.Namespace) []Namespace {
	shown := make([]Namespace, len(all))
	for i, n := range all {
		shown[i] = Namespace{Regex: n.Expression(), Exclusive: n.Exclusive}
	}
	return shown
}

func (h handler) listAppservices(r *api.Request) (any, error) { return h.Operator.Appservices(r.Ctx) }

func (h handler) getAppservice(r *api.Request) (any, error) {
	return h.Appservice(r.Ctx, r.Vars["appservice"])
}

func (h handler) retryAppservice(r *api.Request) (any, error) {
	return nil, h.RetryAppservice(r.Ctx, By(r.User()), r.Vars["appservice"])
}
