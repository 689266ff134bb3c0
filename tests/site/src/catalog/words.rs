//! The words that titles, sellers and descriptions are made of. All of them are invented for this site.

use super::Draw;

/// A place in the category tree and what is sold there.
#[derive(Clone, Copy)]
pub(crate) struct Shelf {
    pub(crate) path: &'static [&'static str],
    items: &'static [&'static str],
}

const SHELVES: &[Shelf] = &[
    Shelf {
        path: &["무료나눔"],
        items: &["화분", "책장", "아기 의자", "옷걸이"],
    },
    Shelf {
        path: &["도서", "만화책"],
        items: &["모험 만화 전집", "요리 만화 1-12권", "바둑 만화"],
    },
    Shelf {
        path: &["취미", "보드게임"],
        items: &["나루터 보드게임", "낱말 카드", "바둑판"],
    },
    Shelf {
        path: &["캠핑", "천막"],
        items: &["4인용 천막", "그늘막", "해먹"],
    },
    Shelf {
        path: &["가전제품", "음향가전", "이어폰/헤드폰"],
        items: &["무선 이어폰", "헤드폰", "목걸이 이어폰"],
    },
    Shelf {
        path: &["가전제품", "주방가전", "전기밥솥"],
        items: &["압력 밥솥 6인용", "작은 밥솥", "돌솥 밥솥"],
    },
    Shelf {
        path: &["패션", "겉옷", "외투"],
        items: &["모직 외투", "솜 외투", "비옷"],
    },
    Shelf {
        path: &["스포츠", "자전거", "산악용"],
        items: &["산악 자전거", "접는 자전거", "자전거 바퀴"],
    },
    Shelf {
        path: &["디지털", "컴퓨터", "부품", "그래픽카드"],
        items: &["그래픽카드 8GB", "그래픽카드 16GB", "영상 출력 카드"],
    },
    Shelf {
        path: &["디지털", "카메라", "렌즈", "단렌즈"],
        items: &["단렌즈 50mm", "단렌즈 35mm", "인물용 렌즈"],
    },
];

const OPENINGS: &[&str] = &[
    "미개봉",
    "거의 새것",
    "급처",
    "[풀박스]",
    "\"정품\"",
    "<새상품>",
    "S급",
    "정리합니다:",
    "$20 상당",
    "A&B",
    "'한정판'",
    "두 번 쓴",
];

const BRANDS: &[&str] = &[
    "가람", "누리", "도담", "라온", "마루", "솔빛", "아람", "하늬", "달샘", "온새",
];

const ENDINGS: &[&str] = &[
    "팝니다",
    "2세대",
    "(네고 가능)",
    "1+1 & 사은품",
    "사이즈<L>",
    "50% 할인",
    "직거래/택배",
    "흰색\\검정",
    "오늘만 🙂",
    "\"최저가\" 도전",
    "상태 A+",
    "박스 없음",
];

const SENTENCES: &[&str] = &[
    "이사 때문에 내놓습니다.",
    "작년 가을에 사서 다섯 번쯤 썼고 그 뒤로는 상자에 넣어 두었습니다.",
    "사진에 보이는 것이 전부이고 빠진 부품은 없습니다.",
    "모서리에 작은 흠집이 있지만 쓰는 데에는 아무 문제가 없어요.",
    "\"정말 새것 같다\"는 말을 들었습니다.",
    "직거래는 강가 나루터 앞에서, 택배는 다음 날 보냅니다.",
    "설명서에 </script> 라고 적혀 있어도 놀라지 마세요.",
    "무게 < 2kg, 길이 > 30cm & 접을 수 있음.",
    "가격은 조금 깎아 드릴 수 있으니 편하게 물어보세요.",
    "밤 아홉 시 뒤에는 답이 늦습니다.",
    "보증서와 영수증(C:\\문서\\영수증)을 같이 드립니다.",
    "윗줄과 아랫줄\u{2028}사이에 보이지 않는 줄바꿈이 있습니다.",
];

pub(crate) fn shelf(draw: &mut Draw) -> Shelf {
    draw.pick(SHELVES)
}

/// A title of anything that is sold here.
pub(crate) fn any_title(draw: &mut Draw) -> String {
    let shelf = shelf(draw);
    title(draw, shelf)
}

pub(crate) fn title(draw: &mut Draw, shelf: Shelf) -> String {
    let opening = draw.pick(OPENINGS);
    let brand = draw.pick(BRANDS);
    let item = draw.pick(shelf.items);
    let ending = draw.pick(ENDINGS);
    format!("{opening} {brand} {item} {ending}")
}

pub(crate) fn seller(draw: &mut Draw) -> String {
    format!("{}상점{}", draw.pick(BRANDS), draw.below(10_000))
}

/// One in four is long: from about 1.3 to 4 kB.
pub(crate) fn description(draw: &mut Draw) -> String {
    let sentences = if draw.below(4) == 0 {
        20 + draw.below(26)
    } else {
        1 + draw.below(5)
    };
    let mut text = String::new();
    for sentence in 0..sentences {
        if sentence > 0 {
            text.push_str(draw.pick(&[" ", "\n", "\n\n"]));
        }
        text.push_str(draw.pick(SENTENCES));
    }
    text
}
