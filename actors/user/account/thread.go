package account

import (
	"context"
	"net/http"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// setThreadSubscription subscribes to a thread, or unsubscribes (MSC4306). A client that subscribes by itself does so because of an
// event; if the user has unsubscribed after that event came, the client has only been asleep, and is refused. What the user has
// subscribed to by hand stays so. The first subscription brings the push rules about threads.
func (ops *operations) setThreadSubscription(ctx context.Context, o *user.Op, m *messages.SetThreadSubscription) (*messages.Done, error) {
	row := schema.ThreadSubscription{UserID: o.UserID, RoomID: m.RoomId, RootID: m.RootId}
	old, known, err := schema.ThreadSubscriptions.Get(ctx, o.Store, row)
	if err != nil {
		return nil, err
	}
	switch {
	case m.Subscribed && m.Automatic && known && !old.Subscribed && m.CausePos <= old.Pos:
		return nil, mxerr.New(http.StatusConflict, "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION",
			"you have unsubscribed from this thread after the event that would subscribe you")
	case m.Subscribed && old.Subscribed && (m.Automatic || !old.Automatic), !m.Subscribed && !old.Subscribed:
		return &messages.Done{}, nil
	}
	row.Subscribed, row.Automatic = m.Subscribed, m.Automatic
	change := schema.ThreadSubscriptionChange{UserID: o.UserID, RoomID: m.RoomId, RootID: m.RootId}
	var writes []persistence.Mutation
	if known {
		gone := change
		gone.Pos = old.Pos
		writes = append(writes, schema.ThreadSubscriptionChanges.Delete(gone))
	}
	writes = append(writes, schema.ThreadSubscriptions.Put(row), schema.ThreadSubscriptionChanges.Put(change))
	notice := &messages.UserNotice{ThreadSubscriptions: true}
	if m.Subscribed {
		rules, err := PushRules(ctx, o.Store, o.UserID)
		if err != nil {
			return nil, err
		}
		if rules.FollowThreads() {
			raw, err := rules.JSON()
			if err != nil {
				return nil, err
			}
			writes = append(writes, schema.AccountDatas.Put(schema.AccountData{UserID: o.UserID, Type: pushRulesType, Content: raw}))
			notice.AccountData = true
		}
	}
	_, err = o.Commit(ctx, writes, nil, user.Notices{User: notice})
	return &messages.Done{}, err
}
