package reader

import (
	"context"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// ThreadSubscriptions asks for the changes of a user's thread subscriptions between two positions, the newest first.
type ThreadSubscriptions struct {
	After  uint64 // changes at or below it are not wanted
	Before uint64 // nor those at or above it; 0: up to now
	Limit  int
}

// ThreadSubscriptionPage is a page of changes as clients get it (MSC4308). Of each thread there is the last change only.
type ThreadSubscriptionPage struct {
	Subscribed   map[string]map[string]ThreadSubscribed   `json:"subscribed,omitempty"`   // by room and root
	Unsubscribed map[string]map[string]ThreadUnsubscribed `json:"unsubscribed,omitempty"` // by room and root
	End          string                                   `json:"end,omitempty"`          // for the caller to set when there are More

	More   bool   `json:"-"`
	Oldest uint64 `json:"-"` // position of the last change on the page: where the next one is to end
}

// ThreadSubscribed is a subscription to a thread.
type ThreadSubscribed struct {
	Automatic bool   `json:"automatic"`
	BumpStamp uint64 `json:"bump_stamp"`
}

// ThreadUnsubscribed is a subscription that has been taken back.
type ThreadUnsubscribed struct {
	BumpStamp uint64 `json:"bump_stamp"`
}

// ThreadSubscriptions reads a page of changes.
func (r *Reader) ThreadSubscriptions(ctx context.Context, userID string, q ThreadSubscriptions) (ThreadSubscriptionPage, error) {
	page := ThreadSubscriptionPage{Subscribed: map[string]map[string]ThreadSubscribed{}, Unsubscribed: map[string]map[string]ThreadUnsubscribed{}}
	n := 0
	changes := persistence.Range[schema.ThreadSubscriptionChange]{Prefix: schema.ThreadSubscriptionChange{UserID: userID}, Keys: 1, Reverse: true,
		From: &schema.ThreadSubscriptionChange{Pos: q.After + 1}}
	if q.Before > 0 {
		changes.Before = &schema.ThreadSubscriptionChange{Pos: q.Before}
	}
	for change, err := range schema.ThreadSubscriptionChanges.Scan(ctx, r.store, changes) {
		if err != nil {
			return page, err
		}
		if n == q.Limit {
			page.More = true
			break
		}
		n++
		page.Oldest = change.Pos
		row, ok, err := schema.ThreadSubscriptions.Get(ctx, r.store, schema.ThreadSubscription{UserID: userID, RoomID: change.RoomID, RootID: change.RootID})
		if err != nil {
			return page, err
		}
		if !ok { // deactivated meanwhile
			continue
		}
		if row.Subscribed {
			put(page.Subscribed, change.RoomID, change.RootID, ThreadSubscribed{row.Automatic, row.Pos})
		} else {
			put(page.Unsubscribed, change.RoomID, change.RootID, ThreadUnsubscribed{row.Pos})
		}
	}
	return page, nil
}

func put[V any](rooms map[string]map[string]V, roomID, rootID string, v V) {
	if rooms[roomID] == nil {
		rooms[roomID] = map[string]V{}
	}
	rooms[roomID][rootID] = v
}
