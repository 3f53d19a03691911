package approval

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // see writePiece
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	tmtypes "github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager/types"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// Recordings are kept in pieces, one object of the bucket each:
//
//	SESSION/FILE/START-SHA256
//
// START is where the piece begins in the file, 16 hexadecimal digits; SHA256 is
// the piece's own. A piece is written once, never changed, and read only under
// the name that its session, file and start give and if its bytes have that
// hash: what the object store serves instead, old or forged, is not used.

// pieceKey names a piece.
func pieceKey(sessionID, file string, start int64, sum [sha256.Size]byte) string {
	return path.Join(sessionID, file, fmt.Sprintf("%016x-%s", start, hex.EncodeToString(sum[:])))
}

// parsePieceKey is the inverse of pieceKey: the hash in a stored key, which must
// be that of the named piece, to the letter. A key from elsewhere, such as one
// with ../ in it, is never asked for.
func parsePieceKey(key, sessionID, file string, start int64) (sum [sha256.Size]byte, err error) {
	_, digits, _ := strings.Cut(path.Base(key), "-")
	b, err := hex.DecodeString(digits)
	if err == nil && len(b) == len(sum) {
		copy(sum[:], b)
		if key == pieceKey(sessionID, file, start, sum) {
			return sum, nil
		}
	}
	return sum, fmt.Errorf("reading a stored piece: %w: its key is not one that this server makes", errDamaged)
}

// pieceStart is where the piece of a key begins; -1 if it is no key of a piece.
func pieceStart(key string) int64 {
	digits, _, _ := strings.Cut(path.Base(key), "-")
	start, err := strconv.ParseInt(digits, 16, 64)
	if err != nil {
		return -1
	}
	return start
}

// segment is a piece as the database knows it.
type segment struct {
	start, length int64
	key           string
	sum           [sha256.Size]byte
}

// storePiece writes a piece that is not there yet. One that is there was left by
// an upload that broke off after this point, and must be the same.
func (s *Store) storePiece(ctx context.Context, key string, data []byte, sum [sha256.Size]byte) error {
	var file *os.File // of a bucket that is a folder
	err := s.writePiece(ctx, key, data, &file)
	if gcerrors.Code(err) == gcerrors.FailedPrecondition {
		_, err = readPiece(ctx, s.blobs, segment{length: int64(len(data)), key: key, sum: sum})
	}
	if err != nil || file == nil {
		return err
	}
	// Its folder, the session's, and the bucket itself, which has that one's name.
	dir := filepath.Dir(file.Name())
	for range 3 {
		if err := s.syncDir(dir); err != nil {
			return fmt.Errorf("making a piece durable: %w", err)
		}
		dir = filepath.Dir(dir)
	}
	return nil
}

// writePiece writes an object. In a folder it is on the disk before it has its
// name: what is found under a name after a crash is whole. An object store does
// as much before it answers.
func (s *Store) writePiece(ctx context.Context, key string, data []byte, file **os.File) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()          // before a Close that follows a failure: nothing gets the name then
	md5sum := md5.Sum(data) //nolint:gosec // buckets with object lock ask for it
	w, err := s.blobs.NewWriter(ctx, key, &blob.WriterOptions{
		ContentType: "application/octet-stream", IfNotExist: true, ContentMD5: md5sum[:],
		BeforeWrite: func(as func(any) bool) error {
			if as(file) {
				return (*file).Chmod(0o600)
			}
			if lock := lockUntil(s.cfg.RecordingsLock, s.cfg.Now()); lock != nil {
				return lock(as)
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	if err == nil && *file != nil {
		err = s.syncFile(*file)
	}
	if err != nil {
		cancel()
		return errors.Join(err, w.Close())
	}
	return w.Close()
}

// lockUntil makes an S3 bucket refuse, to everybody, to change or delete the
// object before its time. Zero leaves that to the bucket's own default.
func lockUntil(d time.Duration, now time.Time) func(as func(any) bool) error {
	if d <= 0 {
		return nil
	}
	return func(as func(any) bool) error {
		var in *transfermanager.UploadObjectInput
		if !as(&in) {
			return errNoLock
		}
		until := now.Add(d).UTC()
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = tmtypes.ObjectLockModeCompliance, &until
		return nil
	}
}

// readPiece reads a piece that is what its key says, or none. It never reads
// more than the piece has.
func readPiece(ctx context.Context, blobs *blob.Bucket, g segment) ([]byte, error) {
	r, err := blobs.NewReader(ctx, g.key, nil)
	if err != nil {
		return nil, fmt.Errorf("reading a stored piece: %w", err)
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(io.LimitReader(r, g.length+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading a stored piece: %w", err)
	case int64(len(b)) != g.length:
		return nil, fmt.Errorf("reading a stored piece: %w: it does not have its %d bytes", errDamaged, g.length)
	case sha256.Sum256(b) != g.sum:
		return nil, fmt.Errorf("reading a stored piece: %w: its bytes are not those that were stored", errDamaged)
	}
	return b, nil
}

// readFile reads a stored file from offset on, piece by piece.
func (s *Store) readFile(ctx context.Context, q querier, sessionID, file string, offset int64) (io.Reader, error) {
	segs, err := segments(ctx, q, sessionID, file, offset)
	if err != nil {
		return nil, err
	}
	return &segmentReader{ctx: ctx, blobs: s.blobs, segs: segs, skip: offset}, nil
}

// segments lists the pieces of a file that end after offset.
func segments(ctx context.Context, q querier, sessionID, file string, offset int64) ([]segment, error) {
	rows, err := q.QueryContext(ctx, `SELECT start, length, blob_key FROM recording_segments WHERE session_id = $1 AND file = $2 AND start + length > $3 ORDER BY start`, sessionID, file, offset)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var segs []segment
	for rows.Next() {
		var g segment
		if err := rows.Scan(&g.start, &g.length, &g.key); err != nil {
			return nil, err
		}
		if g.sum, err = parsePieceKey(g.key, sessionID, file, g.start); err != nil {
			return nil, err
		}
		segs = append(segs, g)
	}
	return segs, rows.Err()
}

// segmentReader reads segments in order, one in memory at a time. It lives for
// one call, which is why it may hold the call's context.
type segmentReader struct {
	ctx   context.Context
	blobs *blob.Bucket
	segs  []segment
	skip  int64 // file offset to start at
	cur   bytes.Reader
}

func (r *segmentReader) Read(p []byte) (int, error) {
	for r.cur.Len() == 0 {
		if len(r.segs) == 0 {
			return 0, io.EOF
		}
		g := r.segs[0]
		r.segs = r.segs[1:]
		b, err := readPiece(r.ctx, r.blobs, g)
		if err != nil {
			return 0, err
		}
		if cut := r.skip - g.start; cut > 0 {
			b = b[cut:]
		}
		r.cur.Reset(b)
	}
	return r.cur.Read(p)
}
