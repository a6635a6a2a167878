package keys

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// parcelSize is how many bytes of messages go into one EDU, unless the first is larger.
const parcelSize = 60 << 10

// parcel is the messages of one EDU: user → device → content.
type parcel map[string]map[string]jsontext.Value

// outbox collects messages to devices of other servers' users.
type outbox struct {
	parcels map[string][]parcel // by server
	filled  map[string]int      // bytes in the last parcel
	targets int
	size    int
}

// add takes the messages to the devices of a user. Those to a user that cannot exist are passed over.
func (b *outbox) add(userID string, byDevice map[string]jsontext.Value) {
	if !id.ValidUser(userID) {
		return
	}
	if b.parcels == nil {
		b.parcels, b.filled = map[string][]parcel{}, map[string]int{}
	}
	server := id.ServerOf(userID)
	for device, content := range byDevice {
		if n := b.filled[server]; n == 0 || n+len(content) > parcelSize {
			b.parcels[server] = append(b.parcels[server], parcel{})
			b.filled[server] = 0
		}
		last := b.parcels[server][len(b.parcels[server])-1]
		if last[userID] == nil {
			last[userID] = map[string]jsontext.Value{}
		}
		last[userID][device] = content
		b.filled[server] += len(content)
		b.size += len(content)
		b.targets++
	}
}

// edus gives the rows by which the messages reach the other servers (server-server API, "Send-to-device messaging").
func (b *outbox) edus(o *user.Op, req *messages.SendToDevice) ([]persistence.Mutation, error) {
	// The ids differ from all others of the sender: the same transaction is made once.
	sum := sha256.Sum256([]byte(req.By.DeviceId + "\x00" + req.Type + "\x00" + req.TxnId + "\x00" + strconv.FormatInt(o.Now.UnixNano(), 10)))
	name := base64.RawURLEncoding.EncodeToString(sum[:18])
	var rows []persistence.Mutation
	for _, server := range slices.Sorted(maps.Keys(b.parcels)) {
		for n, parcel := range b.parcels[server] {
			content, err := json.Marshal(struct {
				Sender    string `json:"sender"`
				Type      string `json:"type"`
				MessageID string `json:"message_id"`
				Messages  any    `json:"messages"`
			}{o.UserID, req.Type, name + "-" + strconv.Itoa(n), parcel})
			if err != nil {
				return nil, err
			}
			rows = append(rows, schema.OutboundEDUs.Put(schema.OutboundEDU{Destination: server, N: uint64(n), Type: "m.direct_to_device", Content: content}))
		}
	}
	return rows, nil
}
