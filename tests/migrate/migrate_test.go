// Package migrate tests that a single node becomes the first of a cluster, and a cluster a single node again, and nobody notices.
package migrate

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

func TestThereAndBack(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	db, err := local.StartPostgres(ctx, filepath.Join(t.TempDir(), "db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Stop)
	url := db.URL(db.Address, "matrixon")

	old := binary.Start(t)
	nobody := &matrixclient.Client{URL: old.URL, HTTP: http.DefaultClient}
	alice, err := nobody.Register(ctx, "alice", "password")
	if err != nil {
		t.Fatal(err)
	}
	room, err := alice.CreateRoom(ctx, matrixclient.J{"preset": "public_chat", "name": "before"})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := alice.Sync(ctx, "", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	token := answer.Get("next_batch").Str
	sent, err := alice.Send(ctx, room, "m.room.message", "t1", matrixclient.J{"msgtype": "m.text", "body": "before the move"})
	if err != nil {
		t.Fatal(err)
	}

	run := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, binary.Program(t), args...).CombinedOutput()
		return string(out), err
	}
	if out, err := run("db", "copy", "--from", "pebble:"+old.DataDir(), "--to", url); err == nil {
		t.Errorf("the data of a running server was copied: %s", out)
	}
	old.Stop()
	out, err := run("db", "copy", "--from", "pebble:"+old.DataDir(), "--to", url)
	if err != nil || !strings.Contains(out, "Everything is copied") {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := run("db", "copy", "--from", "pebble:"+old.DataDir(), "--to", url); err == nil || !strings.Contains(out, "there is data already") {
		t.Errorf("a second copy: %v %s", err, out)
	}
	if out, err := run("db", "status", "--set", "storage="+url); err != nil || !strings.Contains(out, "events") || !strings.Contains(out, "applied") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := run("db", "migrate", "--set", "storage="+url); err != nil || !strings.Contains(out, "layout of this version") {
		t.Errorf("%v: %s", err, out)
	}

	moved := binary.Start(t, "storage="+url, "media.store=file", "media.path="+filepath.Join(old.DataDir(), "media"))
	alice.URL = moved.URL
	answer, err = alice.Sync(ctx, token, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	timeline := answer.Get("rooms.join.@values.0.timeline.events.#.event_id").Array()
	if len(timeline) != 1 || timeline[0].Str != sent {
		t.Errorf("the sync goes on with %v, not with %s", timeline, sent)
	}
	again, err := alice.Send(ctx, room, "m.room.message", "t1", matrixclient.J{"msgtype": "m.text", "body": "before the move"})
	if err != nil || again != sent {
		t.Errorf("a repeated transaction gives %s: %v", again, err)
	}
	last, err := alice.Send(ctx, room, "m.room.message", "t2", matrixclient.J{"msgtype": "m.text", "body": "after the move"})
	if err != nil {
		t.Fatal(err)
	}
	token = answer.Get("next_batch").Str

	// And back: the cluster becomes a single node again.
	if out, err := run("db", "copy", "--from", url, "--to", "pebble:"+moved.DataDir()); err == nil || !strings.Contains(out, "servers use the database") {
		t.Errorf("the data of a running server was copied: %v: %s", err, out)
	}
	moved.Stop()
	if out, err := run("db", "copy", "--from", url, "--to", "pebble:"+moved.DataDir()); err != nil || !strings.Contains(out, "Everything is copied") {
		t.Fatalf("%v: %s", err, out)
	}
	if was, is := key(t, old.DataDir()), key(t, moved.DataDir()); was != is {
		t.Errorf("the server signs with %s, and with %s before", is, was)
	}
	moved.Run("--set", "storage=pebble")
	answer, err = alice.Sync(ctx, token, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	timeline = answer.Get("rooms.join.@values.0.timeline.events.#.event_id").Array()
	if len(timeline) != 1 || timeline[0].Str != last {
		t.Errorf("after the way back the sync goes on with %v, not with %s", timeline, last)
	}
	if _, err := alice.Send(ctx, room, "m.room.message", "t3", matrixclient.J{"msgtype": "m.text", "body": "back again"}); err != nil {
		t.Error(err)
	}
}

// key are the keys in the files of a data_dir: with which the server signs, and with which it vouches for events.
func key(t *testing.T, dataDir string) string {
	t.Helper()
	var keys []string
	for _, name := range []string{"signing.key", "policy.key"} {
		text, err := os.ReadFile(filepath.Join(dataDir, name))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, strings.TrimSpace(string(text)))
	}
	return strings.Join(keys, "\n")
}
