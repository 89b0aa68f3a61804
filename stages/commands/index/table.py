"""The table of indexamajig's options: what each one does here. The command line, its help and its manual are made from it.

Every option of indexamajig 0.12 stands here once, and so do streamajig's own; :mod:`stages.commands.index.options` says
what a row holds.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.command_line.monitor_options import MONITOR_HELP, REPORT_HELP
from pipeline.command_line.variant_options import (
    AIM_HELP,
    KEEP_BEST_HELP,
    UNTIL_DECIDED_HELP,
    VARIANT_HELP,
    VERDICT_HELP,
)
from pipeline.errors import UserError
from stages.commands.index.options import (
    Option,
    addresses,
    conditions,
    data_format,
    inputs,
    negated,
    noted,
    own,
    radii,
    refused,
    replay_speed,
    threads,
    tolerance,
    watched,
)
from stages.wire.formats import DECODERS

INPUT = "Input"
OUTPUT = "Output"
PEAKS = "Peak search"
INDEXING = "Indexing"
INTEGRATION = "Integration"
RUNNING = "Running"
COMPARING = "Comparing"
OTHER_INDEXERS = "Options of other indexing programs"
PANELS = (INPUT, OUTPUT, PEAKS, INDEXING, INTEGRATION, COMPARING, RUNNING, OTHER_INDEXERS)

_MILLE = "data for detector refinement are not written yet"
_INTERNAL = "it is internal to indexamajig's worker processes"

# one row of the table in one line or a few
# fmt: off
_INPUT = (
    Option(("-i", "--input"), INPUT, "List of image files, one a line, with an event or without (run7.cxi //3); or one image "
        "file (CBF or HDF5), a folder or a pattern of them; or what streamajig record has written (its folder; geometry file "
        "and data format are those of the recording, unless others are given); or other recorded messages (.msgpack or .bin, "
        "also .gz), a folder or a list of them.", str, "FILE", sets=("source.files", "source.images"), value=inputs),
    own("--watch", panel=INPUT, help="Process image files as they appear in this folder, or match this pattern "
        "('run7/*.cxi'), until the run is stopped.", kind=str, metavar="FOLDER", sets=("source.images",), value=watched),
    Option(("--zmq-input",), INPUT, "Receive data over ZeroMQ from this address; can be given several times, for senders "
        "with several.", str, "ADDR", repeatable=True, sets=("source.address",),
        value=addresses),
    Option(("--zmq-subscribe",), INPUT,
        "Receive what is published under this tag (SUB socket); can be given several times.", str, "TAG", repeatable=True,
        sets=("source.subscribe",)),
    Option(("--zmq-request",), INPUT, "Ask for each frame with this string (REQ socket).", str, "STR",
        sets=("source.request",)),
    own("--zmq-pull", panel=INPUT, help="Take what is pushed (PULL socket), as DECTRIS detectors, Jungfraujoch and karabo "
        "bridges do.", shapes=True),
    own("--zmq-server-key", panel=INPUT, help="Public key of the senders, or the file of it: only they are talked to, and "
        "encrypted (CURVE).", kind=str, metavar="KEY|FILE", sets=("source.server_key",)),
    own("--zmq-secret-key", panel=INPUT, help="File of our secret key, for senders that know whom they serve (with "
        "--zmq-server-key).", kind=str, metavar="FILE", sets=("source.secret_key",)),
    Option(("--data-format",), INPUT, "Format of the data received: " + ", ".join(DECODERS) + ".", str, "FORMAT", "msgpack",
        sets=("source.data_format",), value=data_format),
    own("--channel", panel=INPUT, help="Which channel's images are read (dectris2): threshold_1, threshold_2, difference; "
        "default in Jungfraujoch.", kind=str, metavar="NAME", default="the first", sets=("decode.channel",)),
    Option(("--no-image-data",), INPUT,
        "Leave pixels alone: peaks come from the message, reflections are predicted and have no intensity.", shapes=True),
    Option(("-g", "--geometry"), INPUT, "Geometry file of the detector.", Path, "FILE.geom",
        sets=("geometry_map.geometry", "source.geometry", "decode.geometry")),
    own("--replay-speed", panel=INPUT, help="How fast recorded messages are taken (with -i): recorded, as they came; full, as "
        "fast as they are processed; or so many a second.", kind=str, metavar="SPEED", default="full", sets=("source.speed",),
        value=replay_speed),
    own("--outstanding", panel=INPUT, help="Requests sent and not yet answered, at most (with --zmq-request).", kind=int,
        metavar="N", sets=("source.outstanding",)),
    own("--sockets", panel=INPUT, help="Connections over which requests are spread (with --zmq-request).", kind=int,
        metavar="N", sets=("source.sockets",)),
    own("--request-timeout", panel=INPUT,
        help="Ask again on a new socket when a request has not been answered for this long (with --zmq-request).",
        kind=float, metavar="SECONDS", sets=("source.timeout_s",)),
    own("--sequence-key", panel=INPUT, help="The number under this key goes up by one with each message of the sender; what is "
        "missing is counted as lost. Can be given several times: the first that is there counts.", kind=str, metavar="KEY",
        default="sequence_number, else the number in event ids", repeatable=True, sets=("decode.sequence_keys",)),
    own("--when-full", panel=INPUT,
        help="What becomes of frames that come faster than they are processed (with --zmq-subscribe and --zmq-pull): "
        "block, "
        "drop_newest or drop_oldest; what is dropped is counted.", kind=str, metavar="HOW", sets=("source.when_full",)),
    own("--first-map-only", panel=INPUT,
        help="Of a message that holds several maps use the first alone, as indexamajig does.", sets=("source.first_only",)),
    own("--max-message-bytes", panel=INPUT, help="Reject messages larger than this.", kind=int, metavar="N",
        sets=("source.max_message_bytes", "decode.max_message_bytes")),
    own("--max-queue-bytes", panel=INPUT,
        help="Bytes of messages that may wait in ZeroMQ's own queue (with --zmq-subscribe and --zmq-pull); the others "
        "wait at the sender.",
        kind=int, metavar="N", sets=("source.max_queue_bytes",)),
    Option(("--prefix", "-x"), INPUT, "Put this before each name in the list of image files.", str, "PATH",
        sets=("source.prefix",)),
    Option(("--basename",), INPUT, "Remove folders from the names in the list, before --prefix.",
        sets=("source.basename",)),
    Option(("--no-check-prefix",), INPUT, "Do not add the slash that a prefix lacks which is a folder.", value=negated,
        sets=("source.check_prefix",)),
    Option(("--wait-for-file",), INPUT, "Wait so long for each image file that is not there; -1 waits for ever.", float,
        "SECONDS", "0", sets=("source.wait_for_file_s",)),
    refused("-v", panel=INPUT, help="Print the version.", why="'streamajig --version' prints the version"),
    refused("--spectrum-file", panel=INPUT, help="File with the spectrum.", why="indexamajig no longer uses it either",
        kind=str),
    Option(("--asapo-endpoint",), INPUT, "Receive data over ASAP::O from this endpoint.", str, "HOST:PORT",
        sets=("source.endpoint",)),
    Option(("--asapo-token",), INPUT, "Token for ASAP::O.", str, "TOKEN", sets=("source.token",)),
    Option(("--asapo-beamtime",), INPUT, "Beamtime for ASAP::O.", str, "ID", sets=("source.beamtime",)),
    Option(("--asapo-group",), INPUT, "Consumer group for ASAP::O: those of one name share the messages.", str, "NAME",
        sets=("source.group",)),
    Option(("--asapo-source",), INPUT, "Data source for ASAP::O.", str, "NAME", sets=("source.data_source",)),
    Option(("--asapo-stream",), INPUT, "Stream for ASAP::O.", str, "NAME", sets=("source.stream",)),
    Option(("--asapo-wait-for-stream",), INPUT, "Wait for a stream that has no messages yet.",
        sets=("source.wait_for_stream",)),
    Option(("--asapo-consumer-timeout",), INPUT, "How long one request to ASAP::O may take.", int, "MS", "500",
        sets=("source.consumer_timeout_ms",)),
    Option(("--asapo-acks",), INPUT, "Acknowledge each message of ASAP::O.", sets=("source.acks",)),
    refused("--asapo-output-stream", panel=INPUT, help="Send hits on over ASAP::O.",
        why="hits are not sent on over ASAP::O yet", kind=str),
)

_OUTPUT = (
    Option(("-o", "--output"), OUTPUT, "Stream file to write; one that is there is written over; - is standard output.",
        Path, "FILE.stream", sets=("sink.path",)),
    Option(("--no-non-hits-in-stream",), OUTPUT, "Leave frames that are not hits out of the stream.",
        sets=("sink.no_non_hits",)),
    Option(("--no-peaks-in-stream",), OUTPUT, "Leave peak lists out of the stream.", sets=("sink.no_peaks",)),
    Option(("--no-refls-in-stream",), OUTPUT, "Leave reflections out of the stream.", sets=("sink.no_reflections",)),
    Option(("--copy-header", "--copy-hdf5-field"), OUTPUT,
        "Copy this entry of each message to the stream; can be given several times.", str, "KEY", repeatable=True,
        sets=("sink.copy_headers", "decode.headers")),
    Option(("--serial-start", "--serial-offset"), OUTPUT, "Serial number of the first frame.", int, "N", "1",
        sets=("run.serial_offset",)),
    own("--in-order", panel=OUTPUT, help="Write chunks in the order of their serials.", sets=("sink.in_order",)),
    own("--force", panel=OUTPUT, help="Write over a geometry or cell file that streamajig has not written "
        "(--corrected-geometry, --found-cell).", sets=("diagnosis.force", "cells.force")),
    refused("--harvest-file", panel=OUTPUT, help="Write the parameters as JSON.",
        why="--print-graph prints all parameters, as YAML that 'streamajig run' reads", kind=str, metavar="FILE"),
)

_PEAKS = (
    Option(("--peaks",), PEAKS,
        "Where peaks come from: msgpack (the message's own list), cxi or hdf5 (the list in the image file), zaef, peakfinder8, "
        "peakfinder8-fast, peakfinder9, likelihood.", str,
        "METHOD", "msgpack (or cxi, of HDF5 files) if the geometry file has a peak_list, else zaef", shapes=True),
    Option(("--min-peaks",), PEAKS, "Frames with fewer peaks are not hits and are not indexed. Those with fewer than 6 "
        "never are.", int, "N", "0",
        sets=("hit.min_peaks",)),
    own("--exclude-rings", panel=PEAKS, help="Take out peaks on powder rings of these spacings (Angstrom, commas between "
        "them); 'ice' stands for those of ice.", kind=str, metavar="D1,D2", sets=("rings.rings",)),
    Option(("-t", "--threshold"), PEAKS, "Lowest pixel value of a peak, in ADU (zaef, peakfinder8).", float, "ADU", "800",
        sets=("peaks.threshold",)),
    Option(("--min-squared-gradient", "--min-sq-gradient", "--min-gradient"), PEAKS,
        "Least squared gradient of a peak (zaef).", float, "N", "100000", sets=("peaks.min_sq_gradient",)),
    Option(("--min-snr",), PEAKS, "Least signal to noise ratio of a peak (all searches; --check-hdf5-snr).", float,
        "N", "5", sets=("peaks.min_snr", "validate.min_snr")),
    Option(("--min-pix-count",), PEAKS, "Least number of pixels of a peak (peakfinder8).", int, "N", "2",
        sets=("peaks.min_pix_count",)),
    Option(("--max-pix-count",), PEAKS, "Greatest number of pixels of a peak (peakfinder8).", int, "N", "200",
        sets=("peaks.max_pix_count",)),
    Option(("--local-bg-radius",), PEAKS, "Radius in pixels in which the background of a peak is taken (peakfinder8, 9).", int,
        "N", "3", sets=("peaks.local_bg_radius",)),
    Option(("--min-res",), PEAKS, "Peaks are farther than this from the beam, in pixels (peakfinder8, likelihood).", int,
        "PX", "0", sets=("peaks.min_res",)),
    Option(("--max-res",), PEAKS, "Peaks are nearer than this to the beam, in pixels; 0 is no limit (peakfinder8, likelihood).",
        int, "PX", "0", sets=("peaks.max_res",)),
    Option(("--peakfinder8-fast",), PEAKS, "Take ring statistics from a sample of the pixels (peakfinder8).",
        sets=("peaks.fast",)),
    Option(("--peak-radius",), PEAKS, "Inner, middle and outer radius for peaks, in pixels.", str, "R1,R2,R3",
        "as --int-radius", value=radii, sets=("peaks.peak_radius", "validate.peak_radius")),
    Option(("--no-use-saturated",), PEAKS, "Leave peaks with saturated pixels out.", value=negated,
        sets=("peaks.use_saturated", "validate.use_saturated")),
    noted("--use-saturated", panel=PEAKS, help="Use peaks with saturated pixels.", why="it is the default"),
    Option(("--no-revalidate",), PEAKS, "Take the message's peaks as they are (msgpack).", shapes=True),
    Option(("--no-half-pixel-shift",), PEAKS, "Do not add 0.5 to the message's peak positions (msgpack).", value=negated,
        sets=("peaks.half_pixel_shift",)),
    Option(("--check-hdf5-snr",), PEAKS, "Check the message's peaks against --min-snr too (msgpack).",
        sets=("validate.check_snr",)),
    Option(("--min-snr-biggest-pix",), PEAKS,
        "Least height of a peak's highest pixel, in standard deviations of the background (peakfinder9).", float, "N", "7",
        sets=("peaks.min_snr_biggest_pix",)),
    Option(("--min-snr-peak-pix",), PEAKS,
        "Least height of a peak's pixels, in standard deviations of the background (peakfinder9).", float, "N", "6",
        sets=("peaks.min_snr_peak_pix",)),
    Option(("--min-sig",), PEAKS,
        "Least standard deviation of the background, in ADU; 1.3 adu_per_photon is right (peakfinder9).", float, "ADU", "11",
        sets=("peaks.min_sig",)),
    Option(("--min-peak-over-neighbour",), PEAKS,
        "By how much a peak's highest pixel exceeds the border of its window, in ADU (peakfinder9).", float, "ADU",
        "not asked", sets=("peaks.min_peak_over_neighbour",)),
    Option(("--median-filter",), PEAKS,
        "Subtract the median of the square that reaches N pixels to each side, before peaks are searched.", int, "N",
        "no filter", sets=("median_filter.radius",)),
    Option(("--filter-noise", "--noise-filter"), PEAKS,
        "Set pixels beside negative ones to zero, before peaks are searched (after --median-filter).", shapes=True),
    own("--bin", panel=PEAKS, help="Average blocks of N x N pixels before peaks are searched (after all filters).", kind=int,
        metavar="N", sets=("bin.bin",)),
    refused("--hdf5-peaks", panel=PEAKS, help="Path of the peak list.",
        why="give the key of the peak list as 'peak_list' in the geometry file, as for indexamajig", kind=str,
        metavar="PATH"),
    refused("--no-sat-corr", panel=PEAKS, help="Historical.", why="indexamajig 0.12 no longer has it either"),
)

_INDEXING = (
    Option(("--indexing", "-z"), INDEXING, "Indexing method: pairs (a known cell), lattice (without one), file, auto, none, or "
        "several with commas between them, which are tried in turn.", str, "METHOD",
        "auto: pairs if there is a unit cell, else lattice until the cell is known", shapes=True),
    Option(("-p", "--pdb"), INDEXING, "Unit cell, as a CrystFEL .cell file or a PDB file; a .cell file with lattice type and "
        "centring alone restricts the search without a cell.", Path, "FILE.cell",
        sets=("index.cell",)),
    Option(("--tolerance",), INDEXING, "Tolerances for the cell in percent (a,b,c) and degrees (al,be,ga).", str,
        "A,B,C,AL,BE,GA", "5,5,5,1.5,1.5,1.5", value=tolerance, sets=("index.tolerance",),
        needs="pdb"),
    Option(("--no-refine",), INDEXING, "Leave prediction refinement out.", shapes=True),
    noted("--refine", panel=INDEXING, help="Refine the prediction.", why="it is the default"),
    own("--refine-detector-shift", panel=INDEXING, help="Refine the detector's shift for each crystal too, and say in the "
        "report what to put into the geometry file.", sets=("refine.refine_detector_shift",)),
    own("--follow-detector", panel=INDEXING, help="Go on with the detector where the crystals of the run, or else its powder "
        "rings, say that it is, as soon as they are sure; the stream says so.", shapes=True),
    own("--corrected-geometry", panel=INDEXING, help="Write the geometry file there, with what should change in it.",
        kind=Path, metavar="FILE.geom", default="the output's name with .corrected.geom", sets=("diagnosis.path",)),
    own("--no-diagnosis", panel=INDEXING, help="Do not look for what is wrong with the experiment.", shapes=True),
    Option(("--no-check-cell",), INDEXING, "Accept lattices whose cell is out of --tolerance.", value=negated,
        sets=("index.check_cell",), needs="pdb"),
    noted("--check-cell", panel=INDEXING, help="Compare with the given cell.", why="it is the default"),
    Option(("--multi",), INDEXING, "Look for further lattices in the peaks that are not explained yet.",
        sets=("index.multi",)),
    noted("--no-multi", panel=INDEXING, help="Look for one lattice.", why="it is the default"),
    Option(("--no-retry",), INDEXING, "Do not try again without the weakest peaks.", value=negated, sets=("index.retry",)),
    noted("--retry", panel=INDEXING, help="Try again without the weakest peaks.", why="it is the default"),
    Option(("--no-check-peaks",), INDEXING, "Accept lattices that explain few of the peaks.", value=negated,
        sets=("index.check_peaks",)),
    noted("--check-peaks", panel=INDEXING, help="Check that a lattice explains the peaks.", why="it is the default"),
    own("--no-verify-cell", panel=INDEXING, help="With -p: do not look, in some of the hits that are not indexed, for lattices "
        "that fit better than the given cell.", value=negated, sets=("index.verify",)),
    own("--found-cell", panel=INDEXING, help="Write the cell on which the crystals agree to this .cell file.", kind=Path,
        metavar="FILE.cell", default="without -p the output's name with .cell", sets=("cells.path",)),
    Option(("--fromfile-input-file",), INDEXING, "Solution file for --indexing=file.", Path, "FILE.sol", sets=("index.file",)),
    refused("--help-fromfile", panel=INDEXING, help="Options of the method file.",
        why="'streamajig stages index/file' prints its manual"),
    noted("--no-cell-combinations", panel=INDEXING, help="Historical.", why="indexamajig no longer uses it either"),
    noted("--wavelength-estimate", panel=INDEXING, help="Wavelength in metres, for tables made in advance.",
        why="no table depends on it here", kind=float, metavar="M"),
    noted("--camera-length-estimate", panel=INDEXING, help="Camera length in metres, for tables made in advance.",
        why="no table depends on it here", kind=float, metavar="M"),
    noted("--max-indexer-threads", panel=INDEXING, help="Threads of one indexer, at most.",
        why="each frame is indexed by one thread here (-j sets how many frames at once)", kind=int, metavar="N"),
    refused("--mille", panel=INDEXING, help="Write Millepede data.", why=_MILLE),
    refused("--mille-dir", panel=INDEXING, help="Folder for Millepede data.", why=_MILLE, kind=str),
    refused("--mille-file", panel=INDEXING, help="File for Millepede data.", why=_MILLE, kind=str),
    refused("--max-mille-level", panel=INDEXING, help="Depth of Millepede data.", why=_MILLE, kind=str),
)

_INTEGRATION = (
    Option(("--integration",), INTEGRATION,
        "Integration method: none, or rings or prof2d with -cen -sat -grad or -nocen -nosat -nograd.", str, "METHOD",
        "rings-nocen-nosat-nograd", shapes=True),
    Option(("--int-radius",), INTEGRATION, "Inner, middle and outer radius of the rings, in pixels.", str, "R1,R2,R3",
        "4,5,7", value=radii, sets=("integrate.int_radius",), also=("peaks.peak_radius", "validate.peak_radius")),
    Option(("--push-res",), INTEGRATION, "Integrate this far beyond each crystal's resolution limit, in nm^-1.", float,
        "NM^-1", "infinity", sets=("integrate.push_res",)),
    Option(("--highres",), INTEGRATION, "Use no pixel beyond this resolution, in Angstrom.", float, "ANGSTROM", "no limit",
        sets=("resolution.highres",)),
    Option(("--fix-profile-radius",), INTEGRATION,
        "Predict with this profile radius in m^-1, instead of one for each crystal.", float, "M^-1",
        "found for each crystal", sets=("integrate.fix_profile_radius",)),
    Option(("--cell-parameters-only",), INTEGRATION, "Predict and integrate nothing.",
        sets=("integrate.cell_parameters_only",)),
    Option(("--overpredict",), INTEGRATION, "Predict more reflections than are likely to be there.",
        sets=("integrate.overpredict",)),
    own("--reach", panel=INTEGRATION, kind=float, metavar="N", default="1.7, as indexamajig",
        help="Predict reflections up to N profile radii off the Ewald sphere; 3 has nearly every spot that can be seen.",
        sets=("integrate.reach",)),
    own("--no-tail-correction", panel=INTEGRATION,
        help="Leave intensities as the sums in the circle; do not divide them by the part of a spot that lies in it.",
        value=negated, sets=("integrate.correct_tails",)),
    Option(("--fix-divergence",), INTEGRATION, "Predict with this divergence of the beam (full angle) in radians.", float,
        "RAD", "0", sets=("integrate.fix_divergence",)),
    refused("--fix-bandwidth", panel=INTEGRATION, help="Bandwidth for the prediction.",
        why="give 'bandwidth' in the geometry file, as for indexamajig", kind=str),
    Option(("--int-diag",), INTEGRATION, "Show in the report how reflections were integrated: none, all, random, strong, "
        "negative, implausible, or indices such as 3,-4,5.", str, "CONDITION", "none",
        sets=("integrate.int_diag",)),
)

_COMPARING = (
    own("--variant", panel=COMPARING, help=VARIANT_HELP, kind=str, metavar="NODE=WAYS", repeatable=True, shapes=True),
    own("--verdict", panel=COMPARING, help=VERDICT_HELP, kind=Path, metavar="FILE", repeatable=True, shapes=True),
    own("--keep-best", panel=COMPARING, help=KEEP_BEST_HELP, kind=Path, metavar="FILE.yaml", shapes=True),
    own("--aim", panel=COMPARING, help=AIM_HELP, kind=str, metavar="MEASURE", shapes=True),
    own("--until-decided", panel=COMPARING, help=UNTIL_DECIDED_HELP, kind=str, metavar="NODE", shapes=True),
)

_RUNNING = (
    Option(("-j",), RUNNING, "Process this many frames at once.", int, "N", "1", sets=("run.backend",), value=threads),
    own("--backend", panel=RUNNING, help="Where frames are processed: serial, threads:N, processes:N, dask:N or "
        "dask:tcp://SCHEDULER:PORT.", kind=str, metavar="NAME:N", sets=("run.backend",)),
    own("--max-frames", panel=RUNNING, help="End after this many frames.", kind=int, metavar="N", sets=("run.max_frames",)),
    Option(("--no-data-timeout",), RUNNING, "End when nothing has arrived for this long.", float, "SECONDS",
        "never (indexamajig: 60 s, for ASAP::O only)", sets=("run.no_data_timeout_s",)),
    own("--stage-timeout", panel=RUNNING, help="Reject a frame in which one stage takes longer than this.", kind=float,
        metavar="SECONDS",
        default="30 with processes and dask, else never; stages that take more than 10 s are named in the log",
        sets=("run.stage_timeout_s",)),
    own("--max-worker-memory", panel=RUNNING, help="Replace a worker process that has more memory than this (2GB), and reject "
        "its frame.", kind=str, metavar="SIZE", default="no limit", sets=("run.max_worker_memory",)),
    own("--in-flight", panel=RUNNING, help="Frames received and not yet finished, at most.", kind=int, metavar="N",
        sets=("run.in_flight",)),
    own("--in-flight-bytes", panel=RUNNING, help="Bytes of their messages, and of chunks that wait for their turn, at most "
        "(4GB, say); one frame is always taken.", kind=str, metavar="SIZE", default="a quarter of the memory",
        sets=("run.in_flight_bytes",)),
    own("--dead-letters", panel=RUNNING, help="Folder for the reasons of rejected frames.", kind=Path, metavar="FOLDER",
        sets=("run.dead_letters",)),
    own("--max-dead-letters", panel=RUNNING, help="Keep so many of them; those beyond are counted.", kind=int, metavar="N",
        default="100000", sets=("run.max_dead_letters",)),
    own("--dead-letter-bytes", panel=RUNNING, help="Keep so many bytes of them, messages included; those beyond are counted.",
        kind=int, metavar="N", default="1e10", sets=("run.dead_letter_bytes",)),
    own("--keep-messages", panel=RUNNING, help="Keep the messages of rejected frames there too.",
        sets=("run.keep_messages",)),
    own("--record", panel=RUNNING, help="Record all messages in this folder as they come, with the geometry file; the run "
        "waits for no disk, and what one is too slow for is counted (streamajig record does nothing else).", kind=Path,
        metavar="FOLDER", sets=("source.record",)),
    own("--record-file-size", panel=RUNNING, help="A file of the recording has so many bytes at most.", kind=str,
        metavar="SIZE", default="2GB", sets=("source.record_file_size",), needs="record"),
    own("--record-max-size", panel=RUNNING, help="The recording ends before it has more bytes than this (1TB, say).", kind=str,
        metavar="SIZE", default="no limit", sets=("source.record_max_size",), needs="record"),
    own("--record-keep-free", panel=RUNNING, help="The recording ends before less than this is free on the disk.", kind=str,
        metavar="SIZE", default="1GB", sets=("source.record_keep_free",), needs="record"),
    own("--live-merge", panel=RUNNING,
        help="Merge the crystals over this point group as they arrive, and report completeness, CC1/2 and so on.", kind=str,
        metavar="GROUP", sets=("merge.symmetry",)),
    own("--live-ambiguity", panel=RUNNING, help="Resolve an indexing ambiguity while merging (with --live-merge): auto, the "
        "point group that the lattice seems to have (6/mmm), or an operator (k,h,-l).", kind=str, metavar="HOW",
        sets=("merge.ambiguity",)),
    own("--group-by", panel=RUNNING, help="Count frames, hits and crystals for each value of this entry of each message "
        "(laser_on: light and dark), and merge each group by itself too (with --live-merge); the entry is copied to the "
        "stream.", kind=str, metavar="KEY", sets=("groups.key", "merge.group_by", "monitor.group_by")),
    own("--group-step", panel=RUNNING, help="Round numbers under --group-by to multiples of this: delays that are measured.",
        kind=float, metavar="X", default="no rounding", needs="group_by",
        sets=("groups.step", "merge.group_step", "monitor.group_step")),
    own("--stop-when", panel=RUNNING, help="End the run when the merged data are like this (with --live-merge), e.g. "
        "completeness=0.99,cc_half=0.9; also resolution, multiplicity, crystals, each_shell, each_group.", kind=str,
        metavar="CONDITIONS", sets=("merge.until",), value=conditions),
    own("--monitor", panel=RUNNING, help=MONITOR_HELP, kind=int, metavar="[=PORT]", sets=("monitor.port",), alone="0"),
    own("--report", panel=RUNNING, help=REPORT_HELP, kind=Path, metavar="FILE.html", sets=("monitor.report",)),
    Option(("--profile",), RUNNING, "Show in the report how long each stage takes.", shapes=True),
    own("--json", panel=RUNNING, help="Print the report as JSON.", shapes=True),
    own("--set", panel=RUNNING, help="Change a parameter of a node of the graph (or of the run), e.g. hit.min_peaks=10; "
        "can be given several times.", kind=str, metavar="NODE.PARAMETER=VALUE", repeatable=True, shapes=True),
    own("--print-graph", panel=RUNNING, help="Print the graph as YAML for 'streamajig run', and run nothing.", shapes=True),
    own("--manual", panel=RUNNING, help="Print the page of all options, also those that are refused, and run nothing.",
        shapes=True),
    own("--module", panel=RUNNING, help="Load stages of your own from this .py file or module; can be given several times.",
        kind=str, metavar="FILE.py", repeatable=True, shapes=True),
    noted("--temp-dir", panel=RUNNING, help="Place for temporary files.", why="streamajig makes no temporary files",
        kind=str, metavar="PATH"),
    refused("--cpu-pin", panel=RUNNING, help="Pin workers to processors.",
        why="it is not supported; 'taskset' does it for the whole program"),
    refused("--no-mask-data", panel=RUNNING, help="Do not load masks.", why="it is not supported yet"),
    *(
        refused(flag, panel=RUNNING, help="Internal.", why=_INTERNAL, kind=str)
        for flag in ("--fd-stream", "--shm-name", "--fd-mille", "--worker-id", "--worker-tmpdir", "--queue-semaphore")
    ),
)
# fmt: on

_OTHER = {
    "taketwo": "member-threshold len-tolerance angle-tolerance trace-tolerance",
    "felix": "tthrange-min tthrange-max min-visits min-completeness max-uniqueness num-voxels fraction-max-visits sigma domega "
    "max-internal-angle",
    "xgandalf": "sampling-pitch sps grad-desc-iterations gdis tolerance tol no-deviation-from-provided-cell! ndfpc! "
    "min-lattice-vector-length min-lvl max-lattice-vector-length max-lvl fast-execution! max-peaks",
    "pinkIndexer": "considered-peaks-count cpc angle-resolution ar refinement-type rt thread-count tc tolerance tol multi! "
    "max-resolution-for-indexing mrfi no-check-indexed! reflection-radius override-photon-energy override-bandwidth "
    "override-visible-energy-range max-refinement-disbalance",
    "asdf": "fast!",
    "ffbidx": "max-spots ifssr-min-spots output-cells num-candidate-vectors redundant-computations! no-redundant-computations! "
    "ifssr-max-dist ifssr-max-iter ifssr-threshold-contraction length-threshold triml trimh delta dist1 dist3 "
    "num-halfsphere-points num-angle-points min-spots",
    "smallcell": "",
}
"""Options of indexing programs that are not here, by program; a ``!`` marks those that take no value."""


def _other_indexers() -> tuple[Option, ...]:
    rows = []
    for program, names in _OTHER.items():
        why = (
            f"it belongs to the indexing method {program}, which is not here ('streamajig stages' lists those that are)"
        )
        rows.append(refused(f"--help-{program.lower()}", panel=OTHER_INDEXERS, help=f"Options of {program}.", why=why))
        for name in names.split():
            kind = bool if name.endswith("!") else str
            flag = f"--{program}-{name.rstrip('!')}"
            rows.append(refused(flag, panel=OTHER_INDEXERS, help=f"Concerns {program}.", why=why, kind=kind))
    return tuple(rows)


OPTIONS: tuple[Option, ...] = (
    *_INPUT,
    *_OUTPUT,
    *_PEAKS,
    *_INDEXING,
    *_INTEGRATION,
    *_COMPARING,
    *_RUNNING,
    *_other_indexers(),
)
"""The whole table, in the order of the help."""

BY_NAME = {option.name: option for option in OPTIONS}
"""The table by Python name."""


def option(name: str) -> Option:
    """Return the row of this Python name."""
    try:
        return BY_NAME[name]
    except KeyError:
        raise UserError(f"there is no option --{name.replace('_', '-')}") from None
