package push

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The kinds of pushers.
const (
	httpKind  = "http"
	emailKind = "email"
)

// The back-off of a pusher whose gateway fails: doubled from the first to the last, each cut by a random part of a quarter.
const (
	firstPause = time.Second
	lastPause  = time.Hour
)

// line delivers the items of one pusher, in order.
type line struct {
	actor *actor
	next  time.Time     // nothing is tried before
	pause time.Duration // after the last failure; 0: it was none
	left  int           // items that wait, as of the last round
	badge *int64        // the count that the gateway was last told
}

// run delivers until nothing is left, or the gateway fails.
func (l *line) run(ctx context.Context, p schema.Pusher) error {
	a := l.actor
	for {
		items, err := l.items(ctx, p)
		if err != nil {
			return err
		}
		l.left = len(items)
		if l.left == 0 || a.deps.Now().Before(l.next) || a.draining.Load() {
			return nil
		}
		switch {
		case !p.Enabled || p.Kind != httpKind && (p.Kind != emailKind || a.deps.Mail == nil):
			if err := l.drop(ctx, items); err != nil {
				return err
			}
			continue
		case p.Kind == emailKind:
			if done, err := l.digest(ctx, p, items); err != nil || !done {
				return err
			}
			continue
		}
		for i, item := range items {
			if a.draining.Load() {
				return nil
			}
			ok, err := l.deliver(ctx, p, item, i == len(items)-1)
			if err != nil || !ok {
				return err
			}
			if err := l.drop(ctx, []schema.PushItem{item}); err != nil {
				return err
			}
			l.left--
		}
	}
}

// items gives what waits, and gives up what is too much or too old.
func (l *line) items(ctx context.Context, p schema.Pusher) ([]schema.PushItem, error) {
	prefix := schema.PushItem{UserID: p.UserID, AppID: p.AppID, Pushkey: p.Pushkey}
	items, err := schema.PushItems.All(ctx, l.actor.deps.Store, persistence.Range[schema.PushItem]{Prefix: prefix, Keys: 3})
	if err != nil {
		return nil, err
	}
	patience := giveUp
	if p.Kind == emailKind {
		patience += longestSilence
	}
	oldest := l.actor.deps.Now().Add(-patience).UnixMilli()
	var keep, gone []schema.PushItem
	for i, item := range items {
		// What comes later brings the count too.
		if item.Seq == 0 && i < len(items)-1 {
			gone = append(gone, item)
		} else {
			keep = append(keep, item)
		}
	}
	for len(keep) > queueBound || len(keep) > 0 && keep[0].TS < oldest {
		gone, keep = append(gone, keep[0]), keep[1:]
		l.actor.deps.Metrics.count(given)
	}
	l.actor.badge.touch(items)
	return keep, l.drop(ctx, gone)
}

func (l *line) drop(ctx context.Context, items []schema.PushItem) error {
	for chunk := range slices.Chunk(items, mostWrites) {
		gone := make([]persistence.Mutation, len(chunk))
		for i, item := range chunk {
			gone[i] = schema.PushItems.Delete(item)
		}
		if err := l.actor.remove(ctx, gone); err != nil {
			return err
		}
	}
	return nil
}

// deliver sends one item, if it is still worth it; ok says that it is done with. What is of no interest any more still tells how much
// is unread, if nothing comes after it that does.
func (l *line) deliver(ctx context.Context, p schema.Pusher, item schema.PushItem, last bool) (ok bool, err error) {
	deps := l.actor.deps
	n, err := l.notification(ctx, item)
	if err == nil && n == nil && last && !countsItself(p) {
		n, err = l.count(ctx)
	}
	if err != nil || n == nil {
		return true, err
	}
	body, err := n.body(p)
	if err != nil {
		return true, err
	}
	refused, err := deps.Gateways.Notify(ctx, gjson.GetBytes(p.Data, "url").Str, body)
	switch {
	case err != nil && ctx.Err() != nil:
		return false, nil // the actor stops; the item is there for the next activation
	case err != nil:
		l.fail(p, err)
		return false, nil
	case slices.Contains(refused, p.Pushkey):
		deps.Metrics.count(rejected)
		to := cluster.Identity{Kind: cluster.KindUser, ID: p.UserID}
		_, err := deps.Caller.Ask(ctx, to, &messages.RemovePusher{AppId: p.AppID, Pushkey: p.Pushkey, SetBefore: p.SetTS})
		return false, err
	}
	deps.Metrics.count(delivered)
	l.pause, l.next, l.badge = 0, time.Time{}, &n.unread
	return true, nil
}

// fail puts the next attempt off.
func (l *line) fail(p schema.Pusher, err error) {
	deps := l.actor.deps
	deps.Metrics.count(failed)
	if l.pause == 0 {
		deps.Log.Info("a notification could not be delivered; it is tried again", "user", p.UserID, "app_id", p.AppID, "error", err)
	}
	text := fmt.Sprintf("%s: %v", p.AppID, err)
	l.actor.last.Store(&text)
	l.pause = min(max(2*l.pause, firstPause), lastPause)
	l.next = deps.Now().Add(l.pause - rand.N(l.pause/4)) //nolint:gosec // it spreads, and is no secret
}

// notification gives what is to be said about the event of an item, nil when there is none or it is of no interest any more.
func (l *line) notification(ctx context.Context, item schema.PushItem) (*notification, error) {
	a := l.actor
	if item.Seq == 0 {
		return nil, nil
	}
	n, err := l.unread(ctx, item)
	if err != nil || n == nil {
		return nil, err
	}
	if n.unread, err = a.badge.total(ctx); err != nil {
		return nil, err
	}
	return n, n.describe(ctx, a.deps.Reader)
}

// unread gives the event of an item, nil when it is of no interest any more.
func (l *line) unread(ctx context.Context, item schema.PushItem) (*notification, error) {
	a := l.actor
	if item.Seq == schema.InviteSeq {
		return l.invitation(ctx, item)
	}
	row, ok, err := schema.EventAt(ctx, a.deps.Store, item.RoomID, item.Seq)
	if err != nil || !ok { // rooms can be deleted
		return nil, err
	}
	found, highlight, err := a.deps.Unread.Notification(ctx, a.userID, &row)
	if err != nil || found == nil || found.Read {
		return nil, err
	}
	return &notification{event: &row, highlight: highlight, actions: found.Actions, userID: a.userID}, nil
}

// invitation gives the invite of another server, nil when it is taken or ended.
func (l *line) invitation(ctx context.Context, item schema.PushItem) (*notification, error) {
	found, highlight, err := l.actor.deps.Unread.Invitation(ctx, l.actor.userID, item.RoomID, item.Pos)
	if err != nil || found == nil {
		return nil, err
	}
	found.Event.ReceivedTS = item.TS
	return &notification{event: &found.Event, highlight: highlight, actions: found.Actions, userID: l.actor.userID, shown: found.Shown}, nil
}

// count gives how much is unread, nil when the gateway knows that.
func (l *line) count(ctx context.Context) (*notification, error) {
	unread, err := l.actor.badge.total(ctx)
	if err != nil || l.badge != nil && *l.badge == unread {
		return nil, err
	}
	return &notification{unread: unread}, nil
}
