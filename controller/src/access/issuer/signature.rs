//! How signatures of tokens are verified: by ring, which is here already. The library for tokens comes without any
//! cryptography of its own, and asks for it here. Nothing is signed, and no shared secret counts: whoever knows a public key
//! knows it.

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind,
    crypto::{CryptoProvider, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result, new_error},
    signature::{self, Verifier},
};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

/// Has the library ask here, in all of this process.
pub(super) fn install() {
    static RING: CryptoProvider = CryptoProvider {
        signer_factory: |_, _| unsupported(),
        verifier_factory: verifier,
        key_utils: KeyUtils {
            rsa_pub_components_from_private_key: |_| unsupported(),
            rsa_pub_components_from_public_key: |_| unsupported(),
            ec_pub_components_from_private_key: |_, _| unsupported(),
            ed_pub_components_from_private_key: |_, _| unsupported(),
            compute_digest: |_, _| unsupported(),
        },
    };
    // Who came first has installed the same.
    let _ = RING.install_default();
}

fn unsupported<T>() -> Result<T> {
    Err(new_error(ErrorKind::UnsupportedAlgorithm))
}

/// A way to verify with a certain kind of key.
enum How {
    Rsa(&'static RsaParameters),
    Other(&'static dyn VerificationAlgorithm),
}

/// The way of an algorithm; none: it is not taken.
fn how(algorithm: Algorithm) -> Option<How> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    Some(match algorithm {
        RS256 => How::Rsa(&RSA_PKCS1_2048_8192_SHA256),
        RS384 => How::Rsa(&RSA_PKCS1_2048_8192_SHA384),
        RS512 => How::Rsa(&RSA_PKCS1_2048_8192_SHA512),
        PS256 => How::Rsa(&RSA_PSS_2048_8192_SHA256),
        PS384 => How::Rsa(&RSA_PSS_2048_8192_SHA384),
        PS512 => How::Rsa(&RSA_PSS_2048_8192_SHA512),
        ES256 => How::Other(&ECDSA_P256_SHA256_FIXED),
        ES384 => How::Other(&ECDSA_P384_SHA384_FIXED),
        EdDSA => How::Other(&ED25519),
        _ => return None,
    })
}

/// Whether an algorithm is taken.
pub(super) fn is_taken(algorithm: Algorithm) -> bool {
    how(algorithm).is_some()
}

struct Verifying {
    algorithm: Algorithm,
    how: How,
    key: DecodingKeyKind,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let is_its = key.family() == algorithm.family();
    let how = how(*algorithm).filter(|_| is_its);
    let how = how.ok_or_else(|| new_error(ErrorKind::InvalidAlgorithm))?;
    Ok(Box::new(Verifying { algorithm: *algorithm, how, key: key.kind().clone() }))
}

impl JwtVerifier for Verifying {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Verifying {
    fn verify(
        &self,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> std::result::Result<(), signature::Error> {
        let verified = match (&self.how, &self.key) {
            (How::Rsa(how), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                let (n, e) = (trimmed(n), trimmed(e));
                RsaPublicKeyComponents { n, e }.verify(how, message, signature)
            }
            (How::Other(how), DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(*how, key).verify(message, signature)
            }
            (How::Rsa(_), DecodingKeyKind::SecretOrDer(_))
            | (How::Other(_), DecodingKeyKind::RsaModulusExponent { .. }) => {
                return Err(signature::Error::new());
            }
        };
        verified.map_err(|_| signature::Error::new())
    }
}

/// Some issuers write a zero before a number whose first bit is set, which ring takes not.
fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
