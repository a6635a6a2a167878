package picture

import "image"

// orient turns a picture as its Exif orientation says: 2 to 4 mirror or turn by half, 5 to 8 swap width and height.
func orient(img frame, orientation int) frame {
	if orientation < 2 || orientation > 8 {
		return img
	}
	turned := func(r image.Rectangle) image.Rectangle {
		if orientation >= 5 {
			return image.Rect(0, 0, r.Dy(), r.Dx())
		}
		return r
	}
	if colours, ok := img.(*image.RGBA); ok {
		out := image.NewRGBA(turned(colours.Rect))
		turn(orientation, out.Pix, colours.Pix, colours.Rect.Dx(), colours.Rect.Dy(), 4)
		return out
	}
	planes := img.(*image.YCbCr) // of shrinkYCbCr, as the new one is
	out := image.NewYCbCr(turned(planes.Rect), image.YCbCrSubsampleRatio420)
	w, h := planes.Rect.Dx(), planes.Rect.Dy()
	turn(orientation, out.Y, planes.Y, w, h, 1)
	turn(orientation, out.Cb, planes.Cb, ceil(w, 2), ceil(h, 2), 1)
	turn(orientation, out.Cr, planes.Cr, ceil(w, 2), ceil(h, 2), 1)
	return out
}

// turn fills out with the w × h pixels of in, of so many bytes each.
func turn(orientation int, out, in []byte, w, h, size int) {
	across, down := w, h
	if orientation >= 5 {
		across, down = h, w
	}
	place := func(x, y int) int {
		fromX, fromY := origin(orientation, x, y, w, h)
		return (fromY*w + fromX) * size
	}
	first := place(0, 0)
	right, below := place(1, 0)-first, place(0, 1)-first
	for y := range down {
		line, from := out[y*across*size:][:across*size], first+y*below
		for ; len(line) > 0; line = line[size:] {
			for i := range size {
				line[i] = in[from+i]
			}
			from += right
		}
	}
}

// origin says where the pixel of the turned picture stands in the stored one, of w × h.
func origin(orientation, x, y, w, h int) (fromX, fromY int) {
	switch orientation {
	case 2:
		return w - 1 - x, y
	case 3:
		return w - 1 - x, h - 1 - y
	case 4:
		return x, h - 1 - y
	case 5:
		return y, x
	case 6:
		return y, h - 1 - x
	case 7:
		return w - 1 - y, h - 1 - x
	default: // 8
		return w - 1 - y, x
	}
}
