package console

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

const (
	password = "a long password"
	roomSet  = 9
)

// fleet is a cluster behind a load balancer, with an administrator, a user and some rooms.
type fleet struct {
	t     *testing.T
	nodes []*local.Node
	url   string // of the load balancer
	boss  *matrixclient.Client
	rooms []string
}

func newFleet(ctx context.Context, t *testing.T) *fleet {
	t.Helper()
	nodes, balancer := binary.Cluster(ctx, t, "logging.level=debug")
	f := &fleet{t: t, nodes: nodes}
	var err error
	f.url = balancer.URL
	nobody := &matrixclient.Client{URL: f.url, HTTP: http.DefaultClient}
	if f.boss, err = nobody.Register(ctx, "boss", password); err != nil {
		t.Fatal(err)
	}
	if _, err := nobody.Register(ctx, "alice", password); err != nil {
		t.Fatal(err)
	}
	if _, err := f.nodes[0].Run(ctx, "user", "admin", "boss"); err != nil {
		t.Fatal(err)
	}
	for i := range roomSet {
		id, err := f.boss.CreateRoom(ctx, matrixclient.J{"preset": "public_chat", "name": fmt.Sprintf("room %d <b>", i)})
		if err != nil {
			t.Fatal(err)
		}
		f.rooms = append(f.rooms, id)
	}
	return f
}

// home has a room live on a node, from where evening out the load may move it.
func (f *fleet) home(ctx context.Context, roomID, node string) {
	f.t.Helper()
	path := "/_matrixon/admin/v1" + matrixclient.Path("actors", "room", roomID, "move") + "?pinned=false&to=" + node
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+f.boss.Token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		f.t.Fatalf("%s: %s %s %v", path, resp.Status, body, err)
	}
}

// chatter keeps rooms busy until stop is called, with messages that take their time.
func (f *fleet) chatter(ctx context.Context, rooms []string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	var sent atomic.Int64
	body := strings.Repeat("chatter ", 6000)
	for _, roomID := range rooms {
		all.Go(func() {
			for ctx.Err() == nil {
				_, err := f.boss.Send(ctx, roomID, "m.room.message", fmt.Sprint("t", sent.Add(1)), matrixclient.J{"msgtype": "m.text", "body": body})
				if err != nil && ctx.Err() == nil {
					f.t.Errorf("a message while the cluster is steered: %v", err)
					return
				}
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
		f.t.Logf("%d messages were sent meanwhile", sent.Load())
	}
}
