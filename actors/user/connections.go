package user

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of what is remembered for simplified sliding sync. Clients whose connection is forgotten begin it anew.
const (
	connectionsPerDevice = 16
	connectionsPerUser   = 128
	issuedBound          = 3       // answers of one connection of which none has been acknowledged
	connectionBytes      = 4 << 20 // of a connection that is stored
)

// connectionID names a connection of simplified sliding sync (MSC4186).
type connectionID struct{ device, conn string }

// connection is what a client may have of a connection. The states are shared and never changed.
type connection struct {
	acknowledged *messages.SlidingState   // nil until an answer has been acknowledged
	issued       []*messages.SlidingState // the answers that continue from it, of which the client has one at most
	used         time.Time
	unsaved      bool
}

// at gives the state at a position, and makes it the acknowledged one.
func (c *connection) at(pos string) (*messages.SlidingState, bool) {
	if c.acknowledged != nil && c.acknowledged.Pos == pos {
		return c.acknowledged, true
	}
	i := slices.IndexFunc(c.issued, func(s *messages.SlidingState) bool { return s.Pos == pos })
	if i < 0 {
		return nil, false
	}
	c.acknowledged, c.issued = c.issued[i], nil
	return c.acknowledged, true
}

// connect begins a connection anew. Beyond the bounds the connection that was not used for the longest time is forgotten.
func (a *actor) connect(id connectionID) *connection {
	if a.connections == nil {
		a.connections = map[connectionID]*connection{}
	}
	delete(a.connections, id)
	of := func(device string) (n int) {
		for other := range a.connections {
			if device == "" || other.device == device {
				n++
			}
		}
		return n
	}
	if of(id.device) >= connectionsPerDevice {
		a.disconnectOldest(id.device)
	}
	if of("") >= connectionsPerUser {
		a.disconnectOldest("")
	}
	c := &connection{}
	a.connections[id] = c
	return c
}

// disconnectOldest forgets a connection of the device, or of any.
func (a *actor) disconnectOldest(device string) {
	var oldest connectionID
	var found *connection
	for id, c := range a.connections {
		if (device == "" || id.device == device) && (found == nil || c.used.Before(found.used)) {
			oldest, found = id, c
		}
	}
	delete(a.connections, oldest)
}

// disconnect forgets the connections of devices.
func (a *actor) disconnect(devices []string) {
	maps.DeleteFunc(a.connections, func(id connectionID, _ *connection) bool { return slices.Contains(devices, id.device) })
}

func loadConnection(ctx context.Context, r persistence.Reader, userID string, id connectionID) (*connection, error) {
	row, ok, err := schema.SlidingConnections.Get(ctx, r, schema.SlidingConnection{UserID: userID, DeviceID: id.device, ConnID: id.conn})
	if err != nil || !ok {
		return nil, err
	}
	var stored messages.SlidingConnection
	if proto.Unmarshal(row.State, &stored) != nil {
		return nil, nil //nolint:nilerr // written by another version: the client begins anew
	}
	return &connection{acknowledged: stored.Acknowledged, issued: stored.Issued, used: time.UnixMilli(row.UsedTS)}, nil
}

// saveConnections has the lane store the connections that changed, so that they outlive the activation. A crash loses them, which
// makes clients begin anew and loses nothing else.
func (a *actor) saveConnections() {
	unsaved := map[connectionID]*messages.SlidingConnection{}
	for id, c := range a.connections {
		if c.unsaved {
			c.unsaved = false
			unsaved[id] = &messages.SlidingConnection{Acknowledged: c.acknowledged, Issued: c.issued}
		}
	}
	if len(unsaved) == 0 {
		return
	}
	save := func(ctx context.Context, o *Op, _ proto.Message) (proto.Message, error) {
		return &messages.Done{}, storeConnections(ctx, o, unsaved)
	}
	if a.lane.push(job{message: cluster.NewMessage(nil, nil), handler: Handler{name: "connections", run: save}}) {
		a.runLane()
	}
}

func storeConnections(ctx context.Context, o *Op, unsaved map[connectionID]*messages.SlidingConnection) error {
	var writes []persistence.Mutation
	devices := map[string]bool{}
	for id, c := range unsaved {
		_, ok, err := schema.Devices.Get(ctx, o.Store, schema.Device{UserID: o.UserID, DeviceID: id.device})
		if err != nil {
			return err
		}
		if !ok {
			continue // logged out in the meantime
		}
		row := schema.SlidingConnection{UserID: o.UserID, DeviceID: id.device, ConnID: id.conn, UsedTS: o.Now.UnixMilli()}
		if row.State, err = proto.Marshal(c); err != nil {
			return err
		}
		devices[id.device] = true
		if len(row.State) > connectionBytes {
			writes = append(writes, schema.SlidingConnections.Delete(row))
		} else {
			writes = append(writes, schema.SlidingConnections.Put(row))
		}
	}
	for device := range devices {
		old, err := surplusConnections(ctx, o, device, unsaved)
		if err != nil {
			return err
		}
		writes = append(writes, old...)
	}
	if len(writes) == 0 {
		return nil
	}
	_, err := o.Commit(ctx, writes, nil, Notices{})
	return err
}

// surplusConnections gives the deletion of stored connections beyond the bound of a device, those first that were not used for the longest time.
func surplusConnections(ctx context.Context, o *Op, device string, unsaved map[connectionID]*messages.SlidingConnection) ([]persistence.Mutation, error) {
	var others []schema.SlidingConnection
	newer := 0
	for row, err := range schema.SlidingConnections.Scan(ctx, o.Store, persistence.Range[schema.SlidingConnection]{
		Prefix: schema.SlidingConnection{UserID: o.UserID, DeviceID: device}, Keys: 2}) {
		if err != nil {
			return nil, err
		}
		if unsaved[connectionID{device, row.ConnID}] == nil {
			row.State = nil
			others = append(others, row)
		}
	}
	for id := range unsaved {
		if id.device == device {
			newer++
		}
	}
	slices.SortFunc(others, func(a, b schema.SlidingConnection) int { return cmp.Compare(b.UsedTS, a.UsedTS) })
	var writes []persistence.Mutation
	for i, row := range others {
		if newer+i >= connectionsPerDevice {
			writes = append(writes, schema.SlidingConnections.Delete(row))
		}
	}
	return writes, nil
}
