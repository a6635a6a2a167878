package schema

import "github.com/matrixon/matrixon/persistence"

// Media is what an mxc:// URI names (client-server API, "Content repository"). That of local users is written by the actor of its
// owner.
type Media struct {
	Server    string `col:"server,key"`
	MediaID   string `col:"media_id,key"`
	UserID    string `col:"user_id"`    // who uploaded it; empty for what came from another server
	Origin    string `col:"origin"`     // upload, preview or remote
	CreatedTS int64  `col:"created_ts"` // ms
	ExpiresTS int64  `col:"expires_ts"` // ms; when an id without content ends; 0 when it has content
	// What follows is known when it has content.
	Blob     string  `col:"blob"` // the name of the object; empty: no content yet
	SHA256   []byte  `col:"sha256"`
	Size     int64   `col:"size"`
	Type     string  `col:"type"`      // as the uploader declared it; empty: not declared
	Filename *string `col:"filename"`  // nil: none
	StoredTS int64   `col:"stored_ts"` // ms; when the content came
	Public   bool    `col:"public"`    // it came before unauthenticated access was frozen
}

// MediaByUser finds the media of a user. Written with the media.
type MediaByUser struct {
	UserID  string `col:"user_id,key"`
	MediaID string `col:"media_id,key"`
	Pending bool   `col:"pending"` // it has no content yet
}

// MediaUsage is how much a user has uploaded. Written with the media.
type MediaUsage struct {
	UserID string `col:"user_id,key"`
	Files  int64  `col:"files"`
	Bytes  int64  `col:"bytes"` // each file counted as often as it was uploaded
}

// Blob is an object of the media store with content that media may share. Released is when no media was found to use it any more:
// from then on none may begin to, and after a while it is deleted.
type Blob struct {
	SHA256     []byte `col:"sha256,key"`
	Name       string `col:"name,key"`
	Size       int64  `col:"size"`
	ReleasedTS int64  `col:"released_ts"` // ms; 0: in use
}

// BlobUse says that media has its content in a blob. Written and deleted with the media.
type BlobUse struct {
	Name    string `col:"name,key"`
	Server  string `col:"server,key"`
	MediaID string `col:"media_id,key"`
}

// BlobThumbnail is a smaller picture made of a blob, which is an object of its own.
type BlobThumbnail struct {
	Name    string `col:"name,key"`    // of the blob
	Variant string `col:"variant,key"` // the size, the method, and whether it moves
	Object  string `col:"object"`
	Type    string `col:"type"`
	Size    int64  `col:"size"`
}

// MediaAccess is when media was last fetched, to the day. Written by any node.
type MediaAccess struct {
	Server  string `col:"server,key"`
	MediaID string `col:"media_id,key"`
	TS      int64  `col:"ts"` // ms
}

// Quarantine keeps content from everyone, whatever media has it.
type Quarantine struct {
	SHA256 []byte `col:"sha256,key"`
	TS     int64  `col:"ts"` // ms
}

// Preview is what a web page said about itself.
type Preview struct {
	Hash      []byte `col:"hash,key"` // SHA-256 of the URL
	URL       string `col:"url"`
	FetchedTS int64  `col:"fetched_ts"` // ms
	ExpiresTS int64  `col:"expires_ts"` // ms
	OpenGraph []byte `col:"open_graph,json"`
	MediaID   string `col:"media_id"` // of its picture; empty: none
}

// StoredObject is an object of the store that keeps media in the database.
type StoredObject struct {
	Name     string `col:"name,key"`
	Size     int64  `col:"size"`      // -1 while it is not whole
	StoredTS int64  `col:"stored_ts"` // ms
}

// StoredChunk is a piece of a StoredObject. All but the last are of one size.
type StoredChunk struct {
	Name   string `col:"name,key"`
	Number uint64 `col:"number,key"` // from 0
	Data   []byte `col:"data"`
}

// The tables of the content repository.
var (
	MediaFiles     = persistence.NewTable[Media]("media")
	MediaOfUsers   = persistence.NewTable[MediaByUser]("media_by_user")
	MediaUsages    = persistence.NewTable[MediaUsage]("media_usage")
	Blobs          = persistence.NewTable[Blob]("blobs")
	BlobUses       = persistence.NewTable[BlobUse]("blob_uses")
	BlobThumbnails = persistence.NewTable[BlobThumbnail]("blob_thumbnails")
	MediaAccesses  = persistence.NewTable[MediaAccess]("media_access")
	Quarantines    = persistence.NewTable[Quarantine]("quarantines")
	Previews       = persistence.NewTable[Preview]("previews")
	StoredObjects  = persistence.NewTable[StoredObject]("stored_objects")
	StoredChunks   = persistence.NewTable[StoredChunk]("stored_chunks")
)
