//! Formats numbers for people.

/// A number with separated thousands, as in amounts of money, marked if there are more than were counted.
pub fn count(number: u64, is_more: bool) -> String {
    let digits = number.to_string();
    let mut text = if is_more { "more than ".to_owned() } else { String::new() };
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        let said = [count(0, false), count(999, false), count(20_000, true), count(1_234_567, false)];
        assert_eq!(said, ["0", "999", "more than 20,000", "1,234,567"]);
    }
}
