//! Archives for the tests of this room.

use std::fs::File;
use std::io::Write;

/// An entry of an archive to make: name, mode, content.
pub type Made<'m> = (&'m str, u32, &'m [u8]);

/// A zip with these files, deflated.
pub fn zip(files: &[Made<'_>]) -> Vec<u8> {
    let (mut all, mut directory) = (Vec::new(), Vec::new());
    for (name, mode, content) in files {
        let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
        packed.write_all(content).unwrap();
        let packed = packed.finish().unwrap();
        let at = u32::try_from(all.len()).unwrap();
        let length = |octets: &[u8]| u32::try_from(octets.len()).unwrap().to_le_bytes();
        let mut middle = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0];
        middle.extend(crc32fast::hash(content).to_le_bytes());
        middle.extend(length(&packed));
        middle.extend(length(content));
        middle.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        middle.extend([0, 0]);
        all.extend(b"PK\x03\x04");
        all.extend(&middle);
        all.extend(name.as_bytes());
        all.extend(packed);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&middle);
        directory.extend([0; 6]);
        directory.extend((mode << 16).to_le_bytes());
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = u32::try_from(all.len()).unwrap().to_le_bytes();
    let size = u32::try_from(directory.len()).unwrap().to_le_bytes();
    let count = u16::try_from(files.len()).unwrap().to_le_bytes();
    all.extend(directory);
    all.extend(b"PK\x05\x06\0\0\0\0");
    all.extend(count);
    all.extend(count);
    all.extend(size);
    all.extend(start);
    all.extend([0, 0]);
    all
}

pub fn kept(octets: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(octets).unwrap();
    file
}
