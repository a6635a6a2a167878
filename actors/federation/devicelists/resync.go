package devicelists

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// resyncTimeout bounds one fetch of a list.
const resyncTimeout = 30 * time.Second

// errMoved says that the list has changed while it was fetched.
var errMoved = errors.New("the list changed while it was fetched")

// Resync fetches the list of a user from their server. Those of one node who want it share one request. Users who share no room with this
// server have none that is kept; for them it does nothing.
func (l *Lists) Resync(ctx context.Context, userID string) error {
	done := l.flight.DoChan(userID, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resyncTimeout)
		defer cancel()
		return nil, l.resync(ctx, userID)
	})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case r := <-done:
		return r.Err
	}
}

func (l *Lists) resync(ctx context.Context, userID string) error {
	rooms, _, err := l.shared(ctx, userID)
	if err != nil || len(rooms) == 0 {
		return err
	}
	// The row is there before the request, so that it shows which changes come meanwhile.
	var before schema.RemoteDeviceList
	err = l.alter(ctx, userID, func(row schema.RemoteDeviceList, there bool) (change, error) {
		if before = row; there {
			return change{}, nil
		}
		before = schema.RemoteDeviceList{UserID: userID, Stale: true, JSON: []byte("{}")}
		return change{row: &before}, nil
	})
	if err != nil {
		return err
	}
	begun := l.o.Now().UnixMilli()
	raw, err := l.o.Caller.Call(ctx, federation.Request{Destination: id.ServerOf(userID), Method: "GET",
		URI: "/_matrix/federation/v1/user/devices/" + url.PathEscape(userID), Limit: longestAnswer, Timeout: resyncTimeout})
	if err != nil {
		return err
	}
	fetched, err := parseList(userID, raw)
	if err != nil {
		return federation.Unreachable(fmt.Errorf("%s: the devices of %s: %w", id.ServerOf(userID), userID, err))
	}
	kept, err := json.Marshal(fetched, json.Deterministic(true))
	if err != nil {
		return err
	}
	moved := false
	err = l.alter(ctx, userID, func(row schema.RemoteDeviceList, there bool) (change, error) {
		moved = there && row.StreamID != before.StreamID && row.StreamID != fetched.StreamID
		if !there || moved {
			return change{}, nil
		}
		c := change{row: &schema.RemoteDeviceList{UserID: userID, StreamID: fetched.StreamID, JSON: kept, FetchedTS: begun}}
		if row.FetchedTS != 0 && !bytes.Equal(row.JSON, kept) {
			c.tell = rooms
		}
		return c, nil
	})
	if err == nil && moved {
		err = errMoved
	}
	return err
}

// pending is a list that is to be fetched.
type pending struct {
	failed int
	next   time.Time
}

// The bounds of fetching in the background.
const (
	mostWaiting = 20_000 // beyond, a list is fetched when somebody asks for it, or found by the next sweep
	atOnce      = 8
	// A server that fails is asked again after a while, each time after twice as long.
	againShortest, againLongest = 15 * time.Second, time.Hour
	mostAttempts                = 12 // then the next sweep begins anew
	tick                        = 5 * time.Second
	sweepEvery                  = time.Hour
)

// Want has the list of the user fetched soon.
func (l *Lists) Want(userID string) {
	l.mu.Lock()
	if _, there := l.waiting[userID]; !there && len(l.waiting) < mostWaiting {
		l.waiting[userID] = pending{next: l.o.Now()}
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run fetches the lists that are wanted, until ctx ends. On the node that leads it forgets those of users who share no room any more, and
// finds those that are still stale.
func (l *Lists) Run(ctx context.Context) {
	ticker, sweep := time.NewTicker(tick), time.NewTimer(time.Minute)
	defer ticker.Stop()
	defer sweep.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, atOnce)
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			sweep.Reset(sweepEvery)
			if l.o.Leads() {
				if err := l.Sweep(ctx); err != nil && ctx.Err() == nil {
					l.o.Log.Error("device lists could not be swept", "error", err)
				}
			}
			continue
		case <-ticker.C:
		case <-l.wake:
		}
		for {
			userID, was, ok := l.take()
			if !ok {
				break
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			running.Go(func() {
				defer func() { <-slots }()
				l.attempt(ctx, userID, was)
			})
		}
	}
}

// take gives a list whose time has come, and forgets it.
func (l *Lists) take() (string, pending, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.o.Now()
	for userID, p := range l.waiting {
		if !p.next.After(now) {
			delete(l.waiting, userID)
			return userID, p, true
		}
	}
	return "", pending{}, false
}

// attempt fetches a list, and has it tried again when that fails.
func (l *Lists) attempt(ctx context.Context, userID string, was pending) {
	err := l.Resync(ctx, userID)
	if err == nil || ctx.Err() != nil {
		return
	}
	l.o.Log.Debug("the devices of a user could not be fetched", "user", userID, "error", err)
	if was.failed+1 >= mostAttempts {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.waiting[userID]; !there && len(l.waiting) < mostWaiting {
		l.waiting[userID] = pending{was.failed + 1, l.o.Now().Add(min(againShortest<<was.failed, againLongest))}
	}
}

// Sweep forgets the lists of users who share no room with this server any more, and has those fetched that are stale.
func (l *Lists) Sweep(ctx context.Context) error {
	for row, err := range schema.RemoteDeviceLists.Scan(ctx, l.o.Store, persistence.Range[schema.RemoteDeviceList]{}) {
		if err != nil {
			return err
		}
		rooms, since, err := l.shared(ctx, row.UserID)
		switch {
		case err != nil:
			return err
		case len(rooms) == 0:
			if _, err := persistence.Await(ctx, l.o.Store, &persistence.Commit{Write: []persistence.Mutation{schema.RemoteDeviceLists.Delete(row)}}); err != nil {
				return err
			}
		case !current(row, since):
			l.Want(row.UserID)
		}
	}
	return nil
}
