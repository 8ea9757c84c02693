"""What goes wrong for who makes cards, codes and batches, or cuts a unit off, in Vietnamese.

Errors are English.
"""

import re

#: As those of `edge.refusals`.
WORDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), vi)
    for pattern, vi in (
        # Units.
        (
            r"direction is (.*); it must be .*",
            "cột direction là {0}; phải là in (vào), out (ra) hoặc both (cả hai)",
        ),
        (
            r"hardware is (.*); it must be .*",
            "cột hardware là {0}; phải là số sê-ri của máy Pi",
        ),
        (
            r"area is (.*); it must be .*",
            "cột area là {0}; chỉ gồm 1 đến 32 ký tự a-z, 0-9 và dấu gạch nối ở giữa",
        ),
        (
            r"the register has no place (.*); add it with: place add .*",
            "danh mục chưa có điểm {0}; thêm bằng lệnh edge-provision place add",
        ),
        (
            r"there is another unit (.*); choose another name",
            "đã có máy {0} khác với dòng này; hãy chọn tên khác",
        ),
        (
            r"there is no unit (.*); add it with: .*",
            "không có máy {0}; thêm bằng lệnh edge-provision unit add",
        ),
        (
            r"unit (\S+) was revoked; give its successor a new name",
            "máy {0} đã bị thu hồi; máy thay thế phải mang tên mới",
        ),
        (
            r"unit (\S+) was not revoked; first: .*",
            "máy {0} chưa bị thu hồi; trước hết chạy edge-provision revoke {0}",
        ),
        (
            r"(\S+): cannot end the connection of (\S+): (.*); restart the broker instead",
            "{0}: không ngắt được kết nối của máy {1} ({2}); hãy khởi động lại broker",
        ),
        (
            r"(\S+) has let (\S+) in again: .*",
            "{0} lại cho máy {1} vào: chép các tệp mà edge-provision revoke đã nêu lên broker, nạp"
            " lại broker, rồi chạy lại lệnh này",
        ),
        (
            r"unit (\S+) was never set up; name the batch whose card it has: (.*)",
            "máy {0} chưa từng được cài đặt; ghi rõ lô thẻ của nó: {1}",
        ),
        (
            r"every unit has its card or code; .*",
            "mọi máy đã có thẻ hoặc mã; muốn làm lại thì ghi rõ tên máy (card: --unit)",
        ),
        (
            r"which units\? .*",
            "máy nào? ghi tên máy, hoặc --new cho mọi máy chưa có thẻ và chưa có mã",
        ),
        (
            r"provision.toml names no wireless network; .*",
            "provision.toml chưa có mạng Wi-Fi; hãy ghi [wifi] ssid",
        ),
        (
            r"batch (.*): its name must be .*",
            "tên lô {0} không dùng được: chỉ gồm 1 đến 32 ký tự a-z, 0-9 và dấu gạch nối ở giữa",
        ),
        (
            r"a unit cannot be called (.*); .*",
            "không đặt tên máy là {0}: đó là tên một máy của trung tâm",
        ),
        (
            r"unit (\S+) has too much to be told for a code, .*",
            "máy {0} có quá nhiều chuyến cho một mã cài đặt; hãy ghi thẻ cho nó",
        ),
        (
            r"wifi: a name has up to 32 bytes, .*",
            "[wifi]: tên mạng tối đa 32 byte, mật khẩu từ 8 đến 63 chữ, số và dấu",
        ),
        (
            r"(.*): cannot write the (?:codes|labels): (.*)",
            "không ghi được vào {0} ({1}); kiểm tra thư mục và chỗ trống",
        ),
        # Certificates.
        (
            r"its token is not for unit (\S+); .*",
            "mã xin chứng thư không phải của máy {0}; hãy ghi thẻ mới cho nó",
        ),
        (
            r"the token of unit (\S+) was used for another key\..*",
            "mã xin chứng thư của máy {0} đã dùng cho khóa khác. Máy cài lại từ đầu thì cấp mã"
            " khác: edge-provision code {0} --enrol, hoặc thẻ mới; hai máy chung một thẻ, hoặc mã"
            " bị lấy cắp, thì thu hồi",
        ),
        (
            r"(.*): a certificate of (\S+) is another's",
            "{0}: chứng thư ghi cho máy {1} lại là của máy khác; chép lại tệp, rồi báo người vận"
            " hành",
        ),
        # Cards.
        (
            r"(.*) is not the boot partition \(bootfs\) of a Raspberry Pi OS card: .*",
            "{0} không phải phân vùng khởi động (bootfs) của thẻ Raspberry Pi OS; cắm lại thẻ rồi"
            " ghi đúng thư mục nơi nó hiện ra",
        ),
        (
            r"(.*) has the card of unit (\S+), which was not taken yet; .* name (\S+) with --unit",
            "thẻ trong {0} là của máy {1}, chưa dùng; cắm thẻ kế tiếp, hoặc ghi đè bằng --unit {2}",
        ),
        (
            r"(.*) is not of a 64-bit Raspberry Pi OS; .*",
            "{0} không phải Raspberry Pi OS bản 64-bit; hãy ghi bản đó lên thẻ trước",
        ),
        (
            r"(.*) is read-only; .*",
            "không ghi được vào {0}: gạt khóa trên đầu đọc thẻ, hoặc gắn lại cho phép ghi",
        ),
        (
            r"(.*): (\S+) MB free, but (\S+) MB are needed; .*",
            "{0} còn trống {1} MB, cần {2} MB; hãy dùng thẻ mới ghi Raspberry Pi OS",
        ),
        (
            r"(.*): there is no such folder; ask .*",
            "không có thư mục {0}; xin văn phòng thư mục gói phần mềm",
        ),
        (
            r"(.*) has no edge-scanner_\*\.deb; ask .*",
            "thư mục {0} không có gói edge-scanner_*.deb; xin văn phòng thư mục gói phần mềm",
        ),
        (r"(.*) reads back differently; .*", "{0} đọc lại không đúng; hãy dùng thẻ khác"),
        # Releases.
        (
            r"nothing was released yet; begin with: (.*)",
            "chưa phát hành phiên bản nào; bắt đầu bằng {0}",
        ),
        (
            r"there is no release (.*); take its package in with: .*",
            "không có phiên bản {0}; nhập gói của nó bằng edge-provision release add",
        ),
        (
            r"--percent is (.*); it must be 0 to 100",
            "--percent là {0}; phải từ 0 đến 100",
        ),
        (
            r"for whom\? .*",
            "cho máy nào? dùng --units, --areas, --percent hoặc --all",
        ),
        (
            r"no unit is in the area (.*); see: (.*)",
            "không có máy nào ở khu vực {0}; xem {1}",
        ),
        (
            r"(.*): not a package for units: (.*)",
            "{0}: không phải gói phần mềm của thiết bị ({1})",
        ),
        (r"(.*): not a Debian package: .*", "{0}: không phải gói Debian (.deb)"),
        (
            r"dpkg-deb is missing; .*",
            "thiếu dpkg-deb; hãy phát hành trên máy Debian hoặc Ubuntu",
        ),
        (
            r"(.*): the repository has another (.*); .*",
            "{0}: trong kho đã có {1} với nội dung khác; hãy đặt số phiên bản mới",
        ),
        (
            r"(.*): not a list of releases.*",
            "{0}: danh sách phát hành bị hỏng; lấy lại từ bản sao lưu, hoặc ghi lại bằng"
            " edge-provision release renew",
        ),
        # The legal basis.
        (
            r"(\d+) legal bases are more than a (?:card carries|list brings) \((\d+)\); .*",
            "có {0} căn cứ pháp lý còn hiệu lực, quá {1}; bỏ khỏi legal-basis/ những văn bản đã"
            " được thay thế, hoặc ký một văn bản cho nhiều điểm",
        ),
        (
            r"basis: its last day (\S+) is before its first day (\S+); .*",
            "ngày cuối {0} trước ngày đầu {1}; hãy sửa --start hoặc --end",
        ),
        (
            r"basis: places\[\d+\] is (.*); it must be .*",
            "{0} không phải mã điểm; ghi mã điểm, phần đầu của mã như cho-*, hoặc * cho tất cả",
        ),
        (
            r"basis: (number|issuer) is (.*); it must be text .*",
            "--{0} là {1}; không được để trống và không quá dài",
        ),
        (
            r"no place in the register is (.*); correct it, .*",
            "danh mục không có điểm nào là {0}; sửa lại, hoặc thêm điểm bằng edge-provision place"
            " add",
        ),
        # Checks of units.
        (
            r"(.*): there is no such picture, and .*",
            "không có ảnh {0}; ghi đúng tên tệp ảnh, hoặc dán nội dung mã QR",
        ),
        (
            r"(.*): this is no picture that can be read: .*",
            "{0} không phải ảnh đọc được; hãy gửi lại ảnh (JPEG hoặc PNG)",
        ),
        (
            r"(.*): no code of a check is seen in it; .*",
            "không thấy mã QR của edge-scanner check trong ảnh {0}; chụp lại gần hơn, thẳng và đủ"
            " cả mã",
        ),
        (
            r"this is no code of edge-scanner check; .*",
            "đây không phải nội dung mã QR của edge-scanner check",
        ),
        (
            r"the code of the check is .*; photograph it again, nearer",
            "mã QR bị hỏng hoặc khác phiên bản; chụp lại gần hơn",
        ),
        # Folders and files.
        (
            r"--config must name the provision\.toml in .*",
            "--config phải là tệp provision.toml trong thư mục triển khai",
        ),
        (
            r"(.*): cannot read these settings: .*",
            "không đọc được cấu hình {0}; sửa lại tệp TOML đó",
        ),
        (
            r"(.*): no such file; copy issued\.jsonl from where units enrol",
            "không có tệp {0}; chép issued.jsonl từ máy cấp chứng thư",
        ),
        (
            r"(.*): another edge-provision is changing it; wait",
            "một lệnh edge-provision khác đang sửa {0}; chờ rồi chạy lại",
        ),
        (
            r"(.*) is not empty; a deployment begins .*",
            "thư mục {0} không trống; hãy chọn thư mục trống",
        ),
        (
            r"(.*): No such file or directory",
            "không có {0}; kiểm tra lại tên, hoặc cắm lại thẻ hay USB",
        ),
        (r"(.*): No space left on device", "{0}: hết chỗ; dọn bớt, hoặc dùng thẻ hay USB khác"),
        (r"(.*): Permission denied", "không có quyền ở {0}; chạy bằng tài khoản có quyền ghi"),
        (
            r"(.*) is no deployment; .*",
            "{0} không phải thư mục triển khai; vào thư mục đó rồi chạy lại, hoặc tạo mới bằng"
            " edge-provision init",
        ),
        (
            r"(.*): cannot read it: No such file or directory",
            "không có tệp {0}",
        ),
        (
            r"(.*): no unit has left a request .* there",
            "trên {0} chưa có máy nào để lại yêu cầu; cắm USB có tệp edge-scanner vào máy trước",
        ),
    )
)
