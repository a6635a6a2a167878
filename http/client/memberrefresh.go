package client

import (
	"context"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/messages"
)

// refreshWait is how long a change of a profile waits for the user's rooms; in a user of very many rooms the rest follows.
const refreshWait = 10 * time.Second

// refresher brings display names and avatars into the member events of users (client-server API, "Events on Change of
// Profile Information"). One pass over a user's rooms runs at a time, with the profile as it then is; a change during a
// pass makes another follow it, so the last change is what stays.
type refresher struct {
	Deps
	mu     sync.Mutex
	passes map[string]*pass
}

type pass struct {
	again *pass // the one that follows
	done  chan struct{}
	err   error // valid when done is closed
}

func newRefresher(d Deps) *refresher { return &refresher{Deps: d, passes: map[string]*pass{}} }

// refresh returns when a pass that began after the call has ended, or after refreshWait.
func (f *refresher) refresh(ctx context.Context, userID string) error {
	p := f.enqueue(context.WithoutCancel(ctx), userID)
	wait := time.NewTimer(refreshWait)
	defer wait.Stop()
	select {
	case <-p.done:
		return p.err
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enqueue starts a pass, or joins the one that will follow the running one.
func (f *refresher) enqueue(ctx context.Context, userID string) *pass {
	f.mu.Lock()
	defer f.mu.Unlock()
	running := f.passes[userID]
	if running == nil {
		p := &pass{done: make(chan struct{})}
		f.passes[userID] = p
		go f.run(ctx, userID, p)
		return p
	}
	if running.again == nil {
		running.again = &pass{done: make(chan struct{})}
	}
	return running.again
}

func (f *refresher) run(ctx context.Context, userID string, p *pass) {
	for p != nil {
		p.err = f.pass(ctx, userID)
		f.mu.Lock()
		close(p.done)
		p = p.again
		if p == nil {
			delete(f.passes, userID)
		} else {
			f.passes[userID] = p
		}
		f.mu.Unlock()
	}
}

func (f *refresher) pass(ctx context.Context, userID string) error {
	content, err := MemberContent(ctx, f.Deps, userID)
	if err != nil {
		return err
	}
	return eachRoom(ctx, f.Deps, userID, []string{"join"}, func(ctx context.Context, roomID string) error {
		_, err := AskRoom[*messages.EventSent](ctx, f.Deps, roomID, &messages.ChangeMembership{
			By: &messages.Requester{UserId: userID}, Action: messages.ChangeMembership_REFRESH, Target: userID, Content: content,
		})
		return err
	})
}

// MemberContent gives the members of a membership event's content that come from the profile of a local user.
func MemberContent(ctx context.Context, d Deps, userID string) (jsontext.Value, error) {
	rows, err := account.Profile(ctx, d.Store, userID)
	if err != nil {
		return nil, err
	}
	content := map[string]jsontext.Value{}
	for _, row := range rows {
		if row.Field == displayName || row.Field == avatarURL {
			content[row.Field] = row.Value
		}
	}
	return json.Marshal(content, json.Deterministic(true))
}
