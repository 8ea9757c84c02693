"""Why a unit takes no card or set-up code, and is not wiped, in Vietnamese. Errors are English."""

import re

_ANEW = r"; make it anew with: .*"

#: As those of `edge.refusals`.
WORDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), vi)
    for pattern, vi in (
        # Cards.
        (
            rf"the card file (?:has \d+ bytes|is not whole|is damaged|was changed).*{_ANEW}",
            "tệp thẻ bị hỏng hoặc đã bị sửa; ghi lại thẻ: edge-provision card",
        ),
        (
            r"this unit belongs to another deployment; .*",
            "máy này thuộc đợt triển khai khác; hãy dùng thẻ của đợt đó, hoặc xóa máy trước"
            " (edge-scanner wipe)",
        ),
        (
            r"this is unit (\S+) already, and a batch card .*",
            "máy này đã là {0}, thẻ của lô sẽ làm nó mất tên; hãy dùng mã cài đặt, hoặc xóa máy"
            " trước (edge-scanner wipe {0})",
        ),
        (
            r"card (\d+) is older than card (\d+), .*",
            "thẻ số {0} cũ hơn thẻ số {1} mà máy đã nhận; hãy ghi thẻ mới",
        ),
        (
            r"(\d+) scans wait to be sent under this unit's name .*",
            "còn {0} lượt chưa gửi mang tên cũ của máy; chờ gửi xong, hoặc chép ra USB"
            " (edge-scanner outbox export), rồi khởi động lại với thẻ này",
        ),
        (
            r"this card is for the board (\S+); this one is (\S+)",
            "thẻ này dành cho máy Pi có số {0}; máy này có số {1}",
        ),
        # Set-up codes.
        (r"this is no set-up code of ours", "đây không phải mã cài đặt của hệ thống"),
        (
            rf"the set-up code is damaged{_ANEW}",
            "mã cài đặt bị hỏng; tạo mã mới: edge-provision code",
        ),
        (
            r"the set-up code is (?:not of this unit's deployment|of another deployment).*",
            "mã cài đặt không phải của đợt triển khai này, hoặc đã bị sửa",
        ),
        (
            rf"the set-up code is of another version than this software{_ANEW}",
            "mã cài đặt khác phiên bản với phần mềm của máy; tạo mã mới: edge-provision code",
        ),
        (
            r"the set-up code moves unit (\S+), and this is none yet; make one with: (.*)",
            "mã này để chuyển máy {0}, còn máy này chưa có tên; tạo mã bằng {1}",
        ),
        (
            r"the set-up code is for unit (\S+); this is (\S+)",
            "mã này dành cho máy {0}; máy này là {1}",
        ),
        (
            r"the set-up code is for a unit that is none yet; this is (\S+); make one with: (.*)",
            "mã này dành cho máy chưa có tên; máy này là {0}; tạo mã bằng {1}",
        ),
        (
            r"the set-up code is for batch (\S+); this is of (\S+)",
            "mã này dành cho lô {0}; máy này thuộc lô {1}",
        ),
        (
            r"set-up code (\d+) is not newer than (\d+), .*",
            "mã số {0} không mới hơn số {1} mà máy đã nhận; tạo mã mới: edge-provision code",
        ),
        (
            r"the set-up code is for the board (\S+); this one is (\S+)",
            "mã này dành cho máy Pi có số {0}; máy này có số {1}",
        ),
        (
            r"this unit never had a card, .*",
            "máy này chưa từng có thẻ, nên không nhận mã của ai; hãy ghi thẻ cho nó",
        ),
        (
            r"a set-up code leaves a unit its name and its area, (\S+) in (\S+); .*",
            "mã cài đặt không đổi tên và khu vực của máy ({0}, {1}); muốn đổi thì ghi thẻ",
        ),
        # What became of it.
        (
            r"unit (\S+), (\S+), (\S+); card (\d+); asks for its certificate, .* on (\S+)",
            "máy {0}, điểm {1}, chiều {2}; thẻ số {3}; xin chứng thư chậm nhất ngày {4}",
        ),
        (
            r"unit (\S+), (\S+), (\S+); card (\d+); asks .* on (\S+); NO LEGAL BASIS on the card",
            "máy {0}, điểm {1}, chiều {2}; thẻ số {3}; xin chứng thư chậm nhất ngày {4}; THẺ KHÔNG"
            " CÓ CĂN CỨ PHÁP LÝ, máy sẽ không ghi nhận ai",
        ),
        (
            r"batch (\S+), waits for its set-up code; card (\d+)",
            "lô {0}, đang chờ mã cài đặt; thẻ số {1}",
        ),
        (
            r"batch (\S+), waits for its set-up code; card (\d+); NO LEGAL BASIS on the card",
            "lô {0}, đang chờ mã cài đặt; thẻ số {1}; THẺ KHÔNG CÓ CĂN CỨ PHÁP LÝ, máy sẽ không ghi"
            " nhận ai",
        ),
        (
            r"unit (\S+), (\S+), (\S+?)(?:, (\S+))?; set-up code (\d+)",
            "máy {0}, điểm {1}, chiều {2}; mã cài đặt số {4}",
        ),
        # Taking a unit down.
        (
            r"this is unit (\S+), not (\S+); nothing was wiped",
            "máy này là {0}, không phải {1}; chưa xóa gì",
        ),
        (
            r"(\d+) scans are not confirmed; .*",
            "còn {0} lượt chưa được xác nhận; chờ gửi xong, hoặc chép ra và nhận biên nhận (outbox"
            " export, outbox receipt), hoặc bỏ chúng bằng --lose-scans",
        ),
        (
            r"this unit is none yet, and (?:has a card of batch|never had a card).*",
            "máy này chưa có tên; ghi đúng tên lô trên thẻ của nó; chưa xóa gì",
        ),
    )
)
