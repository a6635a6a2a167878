package admin

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/api/password"
	"github.com/matrixon/matrixon/http/media"
	"github.com/matrixon/matrixon/matrix/appservice"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
)

// Sessions is told when the sessions of a user have ended or changed.
type Sessions interface {
	Forget(userID string)
}

// Rebalance evens out the load of the nodes, or only says how it would.
type Rebalance func(ctx context.Context, dryRun bool) ([]cluster.PlannedMove, error)

// Deps are what an Operator needs.
type Deps struct {
	ServerName string
	Store      persistence.Store
	Node       *cluster.Node
	Passwords  *password.Hasher
	Sessions   Sessions
	Rebalance  Rebalance
	Media      *media.Repository // nil: this node serves none
	// Registrations gives the application services as they are registered now; nil: there are none.
	Registrations func() *appservice.Set
	Keys          SigningKeys
	// Notify tells a user something in the name of the server; nil: there are no notices.
	Notify func(ctx context.Context, userID, text string) (eventID string, err error)
	// Backup copies all data into a folder of this machine while it is in use.
	Backup    func(ctx context.Context, folder string) (Backup, error)
	Federates bool // whether there are other servers
	Log       *slog.Logger
	// Description is the HTTP interface as OpenAPI, in YAML.
	Description []byte
}

// Operator is what an operator can ask of any node about the whole cluster, and have it do. The HTTP interface and the
// console are two ways to say the same.
type Operator struct{ Deps }

// By is who has something done: the id of an administrator, or empty for who holds the socket in the data folder.
type By string

// note logs what an operator has done or tried. Passwords and tokens are never among the attributes.
func (o Operator) note(ctx context.Context, by By, what string, err error, attrs ...slog.Attr) {
	level := slog.LevelInfo
	if by == "" {
		by = "the operator of the machine"
	}
	attrs = append(attrs, slog.String("by", string(by)))
	if err != nil {
		if mxerr.From(err).Status >= http.StatusInternalServerError { // else it is what was asked that was wrong
			level = slog.LevelWarn
		}
		attrs = append(attrs, slog.Any("error", err))
	}
	o.Log.LogAttrs(ctx, level, "administration: "+what, attrs...)
}

// nodeTimeout is how long a node may take to answer for itself.
const nodeTimeout = 3 * time.Second

// everyNode asks every node of the cluster. Those that do not answer are given with what went wrong.
func everyNode[A proto.Message](ctx context.Context, o Operator, nodes []string, request proto.Message) (answers map[string]A, errs map[string]error) {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	answers, errs = map[string]A{}, map[string]error{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, name := range nodes {
		all.Go(func() {
			answer, err := cluster.Ask[A](ctx, o.Node, cluster.Identity{Kind: cluster.KindNode, ID: name}, request)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs[name] = err
				return
			}
			answers[name] = answer
		})
	}
	all.Wait()
	return answers, errs
}

// atHome asks the node on which the actor lives.
func atHome[A proto.Message](ctx context.Context, o Operator, id cluster.Identity, request proto.Message) (A, error) {
	home := o.Node.Owner(id)
	if home == "" {
		var none A
		return none, mxerr.New(http.StatusServiceUnavailable, "M_UNKNOWN", "no node can have this actor now")
	}
	return cluster.Ask[A](ctx, o.Node, cluster.Identity{Kind: cluster.KindNode, ID: home}, request)
}

// texts are errors by the node's name, as people read them; nil when there are none.
func texts(errs map[string]error) map[string]string {
	if len(errs) == 0 {
		return nil
	}
	all := make(map[string]string, len(errs))
	for name, err := range errs {
		all[name] = err.Error()
	}
	return all
}
