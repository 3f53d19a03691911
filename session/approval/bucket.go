package approval

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
)

var errNoLock = errors.New("only S3 buckets can lock what is written to them: leave the lock of recordings empty, or use s3://")

func openBucket(ctx context.Context, dir, bucketURL string) (*blob.Bucket, error) {
	if bucketURL != "" {
		b, err := blob.OpenBucket(ctx, folderURL(bucketURL))
		if err != nil {
			return nil, fmt.Errorf("opening the recordings bucket: %w", err)
		}
		return b, nil
	}
	blobDir := filepath.Join(dir, "recordings")
	if err := os.MkdirAll(blobDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the recordings folder: %w", err)
	}
	b, err := fileblob.OpenBucket(blobDir, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite, DirFileMode: 0o700})
	if err != nil {
		return nil, fmt.Errorf("opening the recordings folder: %w", err)
	}
	return b, nil
}

// folderURL adds to the URL of a folder what makes its objects durable and
// private: they are written next to where they will be, with no second file
// beside them, in folders of their owner. Other URLs stay as they are.
func folderURL(bucketURL string) string {
	u, err := url.Parse(bucketURL)
	if err != nil || u.Scheme != fileblob.Scheme {
		return bucketURL
	}
	q := u.Query()
	q.Set("no_tmp_dir", "true")
	q.Set("metadata", string(fileblob.MetadataDontWrite))
	if !q.Has("dir_file_mode") {
		q.Set("dir_file_mode", "0700")
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// bucketTimeout bounds the questions that are asked at start.
const bucketTimeout = 20 * time.Second

// checkLock refuses a bucket that does not lock what is written to it, though it
// is asked for: better at start than with the first piece.
func checkLock(ctx context.Context, b *blob.Bucket, bucketURL string, lock time.Duration) error {
	if lock <= 0 {
		return nil
	}
	var client *s3.Client
	u, err := url.Parse(bucketURL)
	if err != nil || !b.As(&client) {
		return errNoLock
	}
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	name := u.Host
	out, err := client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &name})
	if err != nil {
		return fmt.Errorf("asking whether bucket %s locks objects: %w", name, err)
	}
	if out.ObjectLockConfiguration == nil || out.ObjectLockConfiguration.ObjectLockEnabled != s3types.ObjectLockEnabledEnabled {
		return fmt.Errorf("bucket %s does not lock objects: make one with object lock, or leave the lock of recordings empty", name)
	}
	return nil
}
