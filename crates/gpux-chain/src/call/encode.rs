//! Calls as the contracts take them: the only place that knows their argument order.

use super::{Call, CloseLeg, EncodeCallError, JobTerms, NodeTerms, OpenLeg, RawCall, SignedPermit, TopUpLeg};
use crate::{
    abi::{self, Escrow, NodeDirectory, Token},
    built::PROXY,
    collector,
    keys::Signature,
};
use alloy::{
    primitives::{B256, U256},
    sol_types::SolCall,
};
use gpux_lease::Terms;
use gpux_types::{Address, Amount, UnixSeconds};

impl Call {
    /// The call's bytes, with a permit in front of the pull if there is one.
    ///
    /// # Errors
    /// When a signature in it has no form that the escrow takes.
    pub(crate) fn encode(
        &self,
        escrow: Address,
        directory: Address,
        permit: Option<SignedPermit>,
    ) -> Result<RawCall, EncodeCallError> {
        let to = match self {
            Self::Deploy(contract) => {
                return Ok(RawCall {
                    to: PROXY,
                    value: U256::ZERO,
                    input: contract.deployment(),
                });
            }
            Self::DeployCollector(collector) => return Ok(collector.deploy()),
            Self::Collect(handover) => return collector::collect(handover),
            Self::Sweep { collector, token } => return Ok(collector::sweep(*collector, *token)),
            Self::Open { .. }
            | Self::OpenMany { .. }
            | Self::TopUp { .. }
            | Self::TopUpMany { .. }
            | Self::Draw { .. }
            | Self::Settle { .. }
            | Self::Close { .. }
            | Self::CloseMany { .. }
            | Self::Reclaim { .. }
            | Self::ReclaimMany(_)
            | Self::Withdraw { .. } => escrow,
            Self::Announce { .. } => directory,
            Self::Approve { token, .. } | Self::TransferToken { token, .. } => *token,
            Self::TransferNative { to, .. } => *to,
        };
        Ok(RawCall {
            to,
            value: U256::from(self.value()),
            input: self.input(escrow, permit)?.into(),
        })
    }

    fn input(&self, escrow: Address, permit: Option<SignedPermit>) -> Result<Vec<u8>, EncodeCallError> {
        Ok(match self {
            Self::Open {
                terms, deposit, expiry, ..
            } => open(terms, *deposit, *expiry, permit),
            Self::TopUp {
                terms,
                amount,
                new_expiry,
                ..
            } => top_up(terms, *amount, new_expiry.unwrap_or_default(), permit),
            Self::OpenMany { job, legs, .. } => open_many(job, legs, permit),
            Self::TopUpMany { job, legs, .. } => top_up_many(job, legs, permit),
            Self::Draw {
                terms,
                amount,
                cumulative,
                signature,
            } => draw(terms, *amount, *cumulative, signature)?,
            Self::Close {
                terms,
                amount,
                signature,
            } => close(terms, *amount, signature)?,
            Self::CloseMany { job, legs } => close_many(job, legs)?,
            Self::ReclaimMany(legs) => Escrow::reclaimManyCall {
                legs: legs.iter().map(abi::terms).collect(),
            }
            .abi_encode(),
            Self::Settle {
                terms,
                amount,
                cumulative,
                signature,
            } => settle(terms, *amount, *cumulative, signature.as_ref())?,
            Self::Reclaim { terms } => Escrow::reclaimCall {
                terms: abi::terms(terms),
            }
            .abi_encode(),
            Self::Withdraw { token, payee } => Escrow::withdrawCall {
                token: *token,
                payee: *payee,
            }
            .abi_encode(),
            Self::Announce { endpoint, addr } => {
                let (endpoint, addr) = (endpoint.0.into(), addr.clone().into());
                NodeDirectory::announceCall { endpoint, addr }.abi_encode()
            }
            Self::Approve { amount, .. } => approve(escrow, *amount),
            Self::TransferToken { to, amount, .. } => transfer(*to, *amount),
            // Encoded whole, with where they go.
            Self::Deploy(_)
            | Self::DeployCollector(_)
            | Self::Collect(_)
            | Self::Sweep { .. }
            | Self::TransferNative { .. } => Vec::new(),
        })
    }
}

fn approve(spender: Address, amount: Amount) -> Vec<u8> {
    let amount = U256::from(amount.units());
    Token::approveCall { spender, amount }.abi_encode()
}

fn transfer(to: Address, amount: Amount) -> Vec<u8> {
    let amount = U256::from(amount.units());
    Token::transferCall { to, amount }.abi_encode()
}

fn settle(
    terms: &Terms,
    amount: Amount,
    cumulative: Amount,
    signature: Option<&Signature>,
) -> Result<Vec<u8>, EncodeCallError> {
    // The escrow does not look at a receipt over nothing.
    let (r, vs) = signature.map_or(Ok((B256::ZERO, B256::ZERO)), compact)?;
    let call = Escrow::settleCall {
        terms: abi::terms(terms),
        amount: abi::uint96(amount),
        receiptCumulative: abi::uint96(cumulative),
        r,
        vs,
    };
    Ok(call.abi_encode())
}

fn open(terms: &Terms, deposit: Amount, expiry: UnixSeconds, permit: Option<SignedPermit>) -> Vec<u8> {
    let (terms, deposit, expiry) = (abi::terms(terms), abi::uint96(deposit), abi::uint40(expiry));
    match permit {
        None => Escrow::openCall { terms, deposit, expiry }.abi_encode(),
        Some(permit) => {
            let (v, r, s) = permit.parts();
            Escrow::openWithPermitCall {
                terms,
                deposit,
                expiry,
                permitDeadline: permit.deadline,
                v,
                r,
                s,
            }
            .abi_encode()
        }
    }
}

fn top_up(terms: &Terms, amount: Amount, expiry: UnixSeconds, permit: Option<SignedPermit>) -> Vec<u8> {
    let (terms, amount, expiry) = (abi::terms(terms), abi::uint96(amount), abi::uint40(expiry));
    match permit {
        None => Escrow::topUpCall {
            terms,
            amount,
            newExpiry: expiry,
        }
        .abi_encode(),
        Some(permit) => {
            let (v, r, s) = permit.parts();
            let permit_deadline = permit.deadline;
            Escrow::topUpWithPermitCall {
                terms,
                amount,
                newExpiry: expiry,
                permitDeadline: permit_deadline,
                v,
                r,
                s,
            }
            .abi_encode()
        }
    }
}

fn draw(terms: &Terms, amount: Amount, cumulative: Amount, signature: &Signature) -> Result<Vec<u8>, EncodeCallError> {
    let (r, vs) = compact(signature)?;
    let call = Escrow::drawCall {
        terms: abi::terms(terms),
        amount: abi::uint96(amount),
        receiptCumulative: abi::uint96(cumulative),
        r,
        vs,
    };
    Ok(call.abi_encode())
}

fn close(terms: &Terms, amount: Amount, signature: &Signature) -> Result<Vec<u8>, EncodeCallError> {
    let (r, vs) = compact(signature)?;
    let call = Escrow::closeCall {
        terms: abi::terms(terms),
        amount: abi::uint96(amount),
        r,
        vs,
    };
    Ok(call.abi_encode())
}

fn close_many(job: &JobTerms, legs: &[CloseLeg]) -> Result<Vec<u8>, EncodeCallError> {
    let call = Escrow::closeManyCall {
        job: job_terms(job),
        legs: legs.iter().map(close_leg).collect::<Result<_, _>>()?,
    };
    Ok(call.abi_encode())
}

fn job_terms(job: &JobTerms) -> Escrow::JobTerms {
    Escrow::JobTerms {
        renter: job.renter,
        receiptKey: job.receipt_key,
        token: job.token,
        builder: job.builder,
        builderBps: job.builder_share.points(),
        grace: job.grace_secs,
    }
}

fn node_terms(node: &NodeTerms) -> Escrow::NodeTerms {
    Escrow::NodeTerms {
        provider: node.provider,
        providerSigner: node.provider_signer,
        salt: node.salt,
    }
}

fn open_many(job: &JobTerms, legs: &[OpenLeg], permit: Option<SignedPermit>) -> Vec<u8> {
    let job = job_terms(job);
    let leg = |leg: &OpenLeg| Escrow::OpenLeg {
        node: node_terms(&leg.node),
        deposit: abi::uint96(leg.deposit),
        expiry: abi::uint40(leg.expiry),
    };
    let legs = legs.iter().map(leg).collect();
    match permit {
        None => Escrow::openManyCall { job, legs }.abi_encode(),
        Some(permit) => {
            let (v, r, s) = permit.parts();
            let permit_deadline = permit.deadline;
            Escrow::openManyWithPermitCall {
                job,
                legs,
                permitDeadline: permit_deadline,
                v,
                r,
                s,
            }
            .abi_encode()
        }
    }
}

fn top_up_many(job: &JobTerms, legs: &[TopUpLeg], permit: Option<SignedPermit>) -> Vec<u8> {
    let job = job_terms(job);
    let leg = |leg: &TopUpLeg| Escrow::TopUpLeg {
        node: node_terms(&leg.node),
        amount: abi::uint96(leg.amount),
        newExpiry: abi::uint40(leg.new_expiry.unwrap_or_default()),
    };
    let legs = legs.iter().map(leg).collect();
    match permit {
        None => Escrow::topUpManyCall { job, legs }.abi_encode(),
        Some(permit) => {
            let (v, r, s) = permit.parts();
            let permit_deadline = permit.deadline;
            Escrow::topUpManyWithPermitCall {
                job,
                legs,
                permitDeadline: permit_deadline,
                v,
                r,
                s,
            }
            .abi_encode()
        }
    }
}

fn close_leg(leg: &CloseLeg) -> Result<Escrow::CloseLeg, EncodeCallError> {
    let (r, vs) = compact(&leg.signature)?;
    Ok(Escrow::CloseLeg {
        node: node_terms(&leg.node),
        amount: abi::uint96(leg.amount),
        r,
        vs,
    })
}

impl SignedPermit {
    /// As `ecrecover`, and so every token's permit, takes it.
    fn parts(&self) -> (u8, B256, B256) {
        let signature = &self.signature;
        (27 + u8::from(signature.v()), signature.r().into(), signature.s().into())
    }
}

/// A receipt's or closing amount's signature as the escrow takes it: `r`, and `s` with the parity in its highest bit
/// (EIP-2098), which is free where `s` is in the lower half.
pub(crate) fn compact(signature: &Signature) -> Result<(B256, B256), EncodeCallError> {
    if signature.normalize_s().is_some() {
        return Err(EncodeCallError::UpperHalf);
    }
    let parity: U256 = U256::from(signature.v()) << 255_usize;
    let vs: U256 = signature.s() | parity;
    Ok((signature.r().into(), vs.into()))
}

#[cfg(test)]
mod tests;
