// Package client serves the client-server API. Each area of the specification has a function that gives its
// endpoints; handlers check what the request says, ask the actor that decides, or read the store.
package client

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/persistence"
)

// Deps are what all areas need.
type Deps struct {
	ServerName string
	Store      persistence.Reader
	Caller     cluster.Caller
	Now        func() time.Time
	Log        *slog.Logger
	// Appservices knows the application services; nil when there are none.
	Appservices Appservices
	// Notices is the account that sends server notices.
	Notices Notices
}

// AskUser asks the actor of a local user.
func AskUser[A proto.Message](ctx context.Context, d Deps, userID string, request proto.Message) (A, error) {
	return cluster.Ask[A](ctx, d.Caller, cluster.Identity{Kind: cluster.KindUser, ID: userID}, request)
}

// AskRoom asks the actor of a room.
func AskRoom[A proto.Message](ctx context.Context, d Deps, roomID string, request proto.Message) (A, error) {
	return whole(ctx, d, roomID, func() (A, error) {
		return cluster.Ask[A](ctx, d.Caller, cluster.Identity{Kind: cluster.KindRoom, ID: roomID}, request)
	})
}

// whole does what may need the members of a room who are not known yet: again, when they are.
func whole[A any](ctx context.Context, d Deps, roomID string, do func() (A, error)) (A, error) {
	for {
		answer, err := do()
		if err == nil || mxerr.From(err).Code != room.CodePartial {
			return answer, err
		}
		if err := reader.AwaitWhole(ctx, d.Store, roomID); err != nil {
			return answer, err
		}
	}
}
