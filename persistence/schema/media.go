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

// MediaByUser finds the media of a user, in the order of time. Written with the media. Those of nobody are the pictures of previews.
type MediaByUser struct {
	UserID  string `col:"user_id,key"`
	Pending bool   `col:"pending,key"` // it has no content yet
	TS      int64  `col:"ts,key"`      // ms; when the content came, or while it is pending, when the id ends
	MediaID string `col:"media_id,key"`
}

// MediaUsage is how much a user has uploaded. Written with the media.
type MediaUsage struct {
	UserID string `col:"user_id,key"`
	Files  int64  `col:"files"`
	Bytes  int64  `col:"bytes"` // each file counted as often as it was uploaded
}

// Blob is an object of the media store with content that media may share. Written with the first media that has it.
type Blob struct {
	Name     string `col:"name,key"`
	SHA256   []byte `col:"sha256"`
	Size     int64  `col:"size"`
	StoredTS int64  `col:"stored_ts"` // ms
}

// BlobByHash finds the blobs with a content. Written with the blob.
type BlobByHash struct {
	SHA256 []byte `col:"sha256,key"`
	Name   string `col:"name,key"`
}

// BlobRelease says that no further media may begin to use a blob; when none uses it, it is deleted. It is written once and
// outlives the blob, so that whoever has seen the blob just before is refused.
type BlobRelease struct {
	Name string `col:"name,key"`
	TS   int64  `col:"ts"` // ms
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
	BlobsByHash    = persistence.NewTable[BlobByHash]("blobs_by_hash")
	BlobReleases   = persistence.NewTable[BlobRelease]("blob_releases")
	BlobUses       = persistence.NewTable[BlobUse]("blob_uses")
	BlobThumbnails = persistence.NewTable[BlobThumbnail]("blob_thumbnails")
	MediaAccesses  = persistence.NewTable[MediaAccess]("media_access")
	Quarantines    = persistence.NewTable[Quarantine]("quarantines")
	Previews       = persistence.NewTable[Preview]("previews")
	StoredObjects  = persistence.NewTable[StoredObject]("stored_objects")
	StoredChunks   = persistence.NewTable[StoredChunk]("stored_chunks")
)
