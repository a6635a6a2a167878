package user

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
)

// Op is one operation of the user's lane: it may read the store and wait for its commits, because it runs beside
// the mailbox, and it is alone, because the lane runs one operation at a time.
type Op struct {
	UserID string
	Store  persistence.Store
	// Now is when the operation began.
	Now time.Time
	// Federates says that there are other servers to be told.
	Federates bool

	actor *actor
}

// Notices are published, in order of positions, when the commit that they belong to is durable.
type Notices struct {
	User       *messages.UserNotice
	Others     []*messages.UserNotice // of other users, whose inboxes the commit filled
	DeviceList *messages.DeviceListNotice
	Presence   *messages.PresenceNotice
	Profile    *messages.ProfileNotice
	Pusher     *messages.PusherNotice
}

// messages are the notices of the user as the store takes them.
func (n Notices) messages(userID string) []proto.Message {
	var all []proto.Message
	if n.User != nil {
		n.User.UserId = userID
		all = append(all, n.User)
	}
	for _, o := range n.Others {
		all = append(all, o)
	}
	if n.DeviceList != nil {
		n.DeviceList.UserId = userID
		all = append(all, n.DeviceList)
	}
	if n.Presence != nil {
		n.Presence.UserId = userID
		all = append(all, n.Presence)
	}
	if n.Profile != nil {
		n.Profile.UserId = userID
		all = append(all, n.Profile)
	}
	if n.Pusher != nil {
		n.Pusher.UserId = userID
		all = append(all, n.Pusher)
	}
	return all
}

// Commit makes the writes durable at once, fenced by the user's epoch, and returns after notices were published.
// With persistence.ErrExists one of the absent rows exists and nothing has happened. After any other error the
// activation ends, because memory may not agree with the store.
func (o *Op) Commit(ctx context.Context, writes, absent []persistence.Mutation, n Notices) (persistence.Position, error) {
	return o.actor.commit(ctx, &persistence.Commit{Write: writes, Absent: absent}, n)
}

// Handler is an operation that the lane knows, found by the type of its request.
type Handler struct {
	name protoreflect.FullName
	run  func(context.Context, *Op, proto.Message) (proto.Message, error)
}

// Handle makes a Handler of a function.
func Handle[Req, Ans proto.Message](fn func(context.Context, *Op, Req) (Ans, error)) Handler {
	var req Req
	return Handler{
		name: req.ProtoReflect().Descriptor().FullName(),
		run: func(ctx context.Context, o *Op, m proto.Message) (proto.Message, error) {
			typed, ok := m.(Req)
			if !ok {
				return nil, fmt.Errorf("user operation %s: got a %T", req.ProtoReflect().Descriptor().FullName(), m)
			}
			return fn(ctx, o, typed)
		},
	}
}
