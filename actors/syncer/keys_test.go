package syncer_test

import (
	"strconv"
	"sync/atomic"

	"github.com/matrixon/matrixon/actors/actortest"
	"github.com/matrixon/matrixon/messages"
)

var txns atomic.Int64

// send sends messages to devices: user → device → content.
func send(from *actortest.Device, to J) {
	from.World.T.Helper()
	actortest.Must[*messages.Done](from, &messages.SendToDevice{
		By: from.By(), Type: "m.test", TxnId: "m" + strconv.FormatInt(txns.Add(1), 10), Messages: from.World.JSON(to)})
}

// uploadDevice uploads device keys, which differ when what differs.
func uploadDevice(d *actortest.Device, what string) {
	d.World.T.Helper()
	actortest.Must[*messages.KeyCounts](d, &messages.UploadKeys{By: d.By(), DeviceKeys: d.World.JSON(J{
		"user_id": d.User, "device_id": d.ID, "algorithms": []string{"m.megolm.v1.aes-sha2"},
		"keys": J{"ed25519:" + d.ID: what}, "signatures": J{d.User: J{"ed25519:" + d.ID: "sig"}}})})
}
