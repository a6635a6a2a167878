// Package appservice is the HTTP side of application services: how they prove themselves, what they are asked and sent, and the
// endpoints that are about them (application service API).
package appservice

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/appservice"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of what application services are asked on behalf of others.
const (
	queriesAtOnce = 32
	queryTimeout  = 20 * time.Second // of one attempt
	queryAttempts = 3
	queryPause    = 500 * time.Millisecond
)

// Options are what Services needs.
type Options struct {
	// Set gives the application services as they are registered now.
	Set    func() *appservice.Set
	Store  persistence.Reader
	Caller cluster.Caller
	Link   *Link
	Log    *slog.Logger
}

// Services are the application services of this server. It is safe for concurrent use.
type Services struct {
	Options
	queries singleflight.Group
	slots   *semaphore.Weighted
}

// New makes the application services known to the endpoints.
func New(o Options) *Services {
	return &Services{Options: o, slots: semaphore.NewWeighted(queriesAtOnce)}
}

// ByToken gives the id of the application service with this token.
func (s *Services) ByToken(token string) (string, bool) {
	if r := s.Set().ByToken(token); r != nil {
		return r.ID, true
	}
	return "", false
}

// MayActAs reports whether the application service may make and log in the user.
func (s *Services) MayActAs(service, userID string) bool {
	set := s.Set()
	r := set.ByID(service)
	return r != nil && set.MayActAs(r, userID)
}

// Reserved reports whether the user is reserved to another application service.
func (s *Services) Reserved(userID, to string) bool { return s.Set().Reserved(userID, to) }

// MayAlias reports whether somebody may make or delete an alias: an application service those in its namespaces, everybody else
// those that are not reserved.
func (s *Services) MayAlias(alias, service string) bool {
	set := s.Set()
	if set.ReservedAlias(alias, service) {
		return false
	}
	r := set.ByID(service)
	return r == nil || r.OwnsAlias(alias)
}

// Introduce makes the account of the application service's own user, if there is none.
func (s *Services) Introduce(ctx context.Context, r *appservice.Registration) error {
	_, ok, err := schema.Accounts.Get(ctx, s.Store, schema.Account{UserID: r.UserID()})
	if err != nil || ok {
		return err
	}
	_, err = s.Caller.Ask(ctx, cluster.Identity{Kind: cluster.KindUser, ID: r.UserID()}, &messages.RegisterAccount{})
	var refused *mxerr.Error
	if errors.As(err, &refused) && refused.Code == "M_USER_IN_USE" {
		return nil
	}
	return err
}

// FindUser has the application services in whose namespaces a local user is make the account that is not there (application service API,
// "Querying"). It reports whether one of them says that the user exists; 408 M_UNKNOWN when one cannot be asked.
func (s *Services) FindUser(ctx context.Context, userID string) (bool, error) {
	for _, r := range s.Set().All() {
		if r.UserID() == userID {
			return true, s.Introduce(ctx, r)
		}
	}
	return s.find(ctx, "/users/", userID, func(r *appservice.Registration) bool { return r.Owns(userID) })
}

// FindAlias is FindUser for a local alias.
func (s *Services) FindAlias(ctx context.Context, alias string) (bool, error) {
	return s.find(ctx, "/rooms/", alias, func(r *appservice.Registration) bool { return r.OwnsAlias(alias) })
}

// find asks those that are concerned, one after the other. Who asks for the same at the same time shares an answer.
func (s *Services) find(ctx context.Context, path, id string, concerns func(*appservice.Registration) bool) (bool, error) {
	var concerned []*appservice.Registration
	for _, r := range s.Set().All() {
		if r.URL != "" && concerns(r) {
			concerned = append(concerned, r)
		}
	}
	if len(concerned) == 0 {
		return false, nil
	}
	asked := s.queries.DoChan(path+id, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryAttempts*queryTimeout)
		defer cancel()
		if err := s.slots.Acquire(ctx, 1); err != nil {
			return false, err
		}
		defer s.slots.Release(1)
		for _, r := range concerned {
			found, err := s.query(ctx, r, path, id)
			if err != nil || found {
				return found, err
			}
		}
		return false, nil
	})
	select {
	case answer := <-asked:
		found, _ := answer.Val.(bool)
		return found, answer.Err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// query asks one application service, and again when it does not answer.
func (s *Services) query(ctx context.Context, r *appservice.Registration, path, id string) (bool, error) {
	for attempt := 1; ; attempt++ {
		answer, err := s.ask(ctx, r, path, id)
		if err == nil {
			return answer.Status == http.StatusOK, nil
		}
		s.Log.Warn("an application service did not answer", "appservice", r.ID, "attempt", attempt, "error", err)
		if attempt == queryAttempts || ctx.Err() != nil {
			return false, mxerr.New(http.StatusRequestTimeout, "M_UNKNOWN", "the application service that %.255s belongs to does not answer", id)
		}
		timer := time.NewTimer(queryPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (s *Services) ask(ctx context.Context, r *appservice.Registration, path, id string) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return s.Link.Do(ctx, r, Call{Method: http.MethodGet, Path: path, ID: id, Legacy: path})
}
