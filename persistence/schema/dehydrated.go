package schema

import "github.com/matrixon/matrixon/persistence"

// DehydratedDevice says which of a user's devices is the dehydrated one, and what a client needs to bring it back to life
// (MSC3814). The device itself has a row among the Devices. Written by the actor of the user.
type DehydratedDevice struct {
	UserID   string `col:"user_id,key"`
	DeviceID string `col:"device_id"`
	Data     []byte `col:"data,json"` // device_data, as it was given
}

// DehydratedDevices are the dehydrated devices: one a user at most.
var DehydratedDevices = persistence.NewTable[DehydratedDevice]("dehydrated_devices")
