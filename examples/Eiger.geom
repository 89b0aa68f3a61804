; An Eiger 4M whose frames come over ZeroMQ as OnDA and OM send them.
; Words after "=" that are no numbers are keys of each message.

photon_energy = beam_energy eV
adu_per_photon = 1
clen = detector_distance mm
res = 5814.0            ; pixels per metre
peak_list = peak_list   ; for --peaks=msgpack

thepanel/data = detector_data
thepanel/min_fs = 0
thepanel/max_fs = 2067
thepanel/min_ss = 0
thepanel/max_ss = 2161
thepanel/corner_x = -1034
thepanel/corner_y = -1081
thepanel/fs = x
thepanel/ss = y
