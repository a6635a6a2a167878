// Package keys holds a user's end-to-end encryption data: device keys, one-time and fallback keys, cross-signing,
// key backups and the to-device inbox (client-server API, "End-to-end encryption"). Operations run in the lane of the
// user's actor; the functions that only read take a persistence.Reader and need no actor.
package keys

import "github.com/matrixon/matrixon/actors/user"

// Handlers are the operations for user.New.
func Handlers() []user.Handler {
	return []user.Handler{
		user.Handle(uploadKeys),
		user.Handle(claimKey),
		user.Handle(uploadCrossSigning),
		user.Handle(uploadSignatures),
		user.Handle(createBackup),
		user.Handle(updateBackup),
		user.Handle(deleteBackup),
		user.Handle(putBackupSessions),
		user.Handle(deleteBackupSessions),
		user.Handle(sendToDevice),
	}
}
